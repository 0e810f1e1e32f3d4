// The page: the state is in the address; what changes it asks again and draws anew.

import { ask, isOld } from "./ask.js";
import { drawAbout, drawControls, listen } from "./controls.js";
import { by, el, fill, plural, said, visible } from "./dom.js";
import { difference, drawSide, markChosen } from "./lists.js";
import { drawCode, drawWhy } from "./reasons.js";
import { coloursOf, drawCodes, drawHistory } from "./side.js";
import { isAsked, question, read, write } from "./state.js";

let state = read(location.search);
let about = null;
let answer = null;
let colours = new Map();

/** Change the state; what depends on it is asked again. */
function set(change) {
  const old = state;
  state = { ...state, ...change };
  history.pushState(null, "", write(state));
  follow(old);
}

function follow(old) {
  const asked = (each) => JSON.stringify([each.user, each.items, each.k, each.unseen, each.filters, each.boosts, each.place, each.other]);
  if (asked(old) !== asked(state) || answer === null) return load();
  if (old.why !== state.why) loadWhy();
  if (old.code !== state.code) loadCode();
  return undefined;
}

/** Do something that asks; a failure is said on the page, with a way to try again. */
async function attempt(work) {
  try {
    await work();
    fill(by("problem"));
  } catch (error) {
    if (isOld(error)) return;
    const retry = el("button", { type: "button", class: "small", click: () => attempt(work) }, "Try again");
    fill(by("problem"), el("p", { class: "problem" }, error.message, " ", retry));
  }
}

async function load() {
  await attempt(async () => {
    if (about === null || about.asked !== state.place) {
      about = { ...(await ask("about", "/api/about", { params: { place: state.place } })), asked: state.place };
      drawAbout(about);
    }
    drawControls(state, about, (kind, place) => set({ [kind]: state[kind].filter((_, number) => number !== place) }));
    document.title = isAsked(state) ? `${visible(whom())} · sparcode-es` : "sparcode-es";
    if (!isAsked(state)) return welcome();
    await waited(async () => {
      answer = await ask("answer", "/api/answer", { body: { ...question(state), other: state.other || null } });
    });
    draw();
  });
  if (answer !== null) await Promise.all([loadWhy(), loadCode()]);
}

/** Show that the panels are of an older question. */
async function waited(work) {
  by("panels").setAttribute("aria-busy", "true");
  try {
    await work();
    by("panels").setAttribute("aria-busy", "false");
  } catch (error) {
    if (!isOld(error)) by("panels").setAttribute("aria-busy", "false");
    throw error;
  }
}

const whom = () => (state.user !== null ? `user ${state.user}` : `a history of ${plural(state.items.length, "item")}`);

function draw() {
  const { left, right, comparison } = answer;
  colours = coloursOf(left);
  document.body.toggleAttribute("data-two", right !== undefined);
  drawHistory(left, state.items.length > 0, {
    remove: (place) => {
      set({ items: state.items.toSpliced(state.items.length - 1 - place, 1) });
      by("title").focus();
    },
    clear: () => {
      set({ user: null, items: [], why: null });
      by("title").focus();
    },
    edit: about.histories ? () => set({ user: null, items: left.history.map((item) => item.id).reverse() }) : null,
  });
  drawCodes(left, colours, showCode);
  const shared = { chosen: state.why, why: showWhy };
  const heading = right ? "Here" : "Recommended";
  drawSide("left", { ...shared, answer: left, heading, places: comparison?.left, colours });
  drawSide("right", right ? { ...shared, answer: right, heading: "There", places: comparison?.right, colours: theirs(right) } : null);
  by("why").hidden = left.codes.length === 0;
  fill(by("why-body"), el("p", { class: "empty" }, "Choose an item of the list, or ask for any other, to see which codes give it its score."));
  const counted = `${plural(left.items.length, "item")} for ${whom()}`;
  fill(by("status"), said(comparison ? `${counted}: ${difference(comparison)}` : counted));
}

/** Colours of the other side: of another model's codes none is one of ours. */
const theirs = (right) => (right.codes?.some((code) => colours.has(code.term)) ? colours : coloursOf(right));

function welcome() {
  answer = null;
  document.body.removeAttribute("data-two");
  for (const id of ["history", "codes", "right", "why"]) by(id).hidden = true;
  by("left").hidden = false;
  fill(by("status"));
  const other = about.histories ? ", or put a history together, title by title" : "";
  const sample = el("div", { class: "tools" });
  fill(
    by("left"),
    el("h2", { id: "left-title" }, "Whom is it about?"),
    el("p", {}, `Choose a user by id${other}: you see their codes, what is recommended, and what each code gave.`),
    sample,
  );
  return ask("sample", "/api/users", { params: { q: "", place: state.place } }).then(({ users }) =>
    fill(sample, users.map((user) => el("button", { type: "button", class: "small", click: () => act.user(user) }, said(user)))),
  );
}

function showWhy(item) {
  if (item === state.why) loadWhy();
  else set({ why: item });
}

async function loadWhy() {
  markChosen(state.why);
  if (state.why === null || answer === null || answer.left.codes.length === 0) return;
  by("why").setAttribute("aria-busy", "true");
  await attempt(async () => {
    const told = await ask("why", "/api/why", { body: { ...question(state), item: state.why } });
    by("why").setAttribute("aria-busy", "false");
    drawWhy(told, colours, showCode);
    const { top, bottom } = by("why").getBoundingClientRect();
    if (top > innerHeight - 120 || bottom < 120) by("why").scrollIntoView({ block: "start" });
  });
}

function showCode(term) {
  if (term !== state.code) set({ code: term });
}

async function loadCode() {
  if (state.code === null) return by("code").close();
  return attempt(async () => drawCode(await ask("code", "/api/code", { params: { term: state.code, place: state.place } }), showCode));
}

const act = {
  place: () => state.place,
  set,
  user: (user) => set({ user, items: [], why: null }),
  add: (item) => {
    set({ user: null, items: [...state.items, item] });
    by("title").focus();
  },
  asked: showWhy,
  condition: (name, sign, value, weight) => {
    if (sign === "*") set({ boosts: [...state.boosts.filter((each) => each[0] !== name || each[1] !== value), [name, value, weight]] });
    else if (["<=", ">="].includes(sign) && !Number.isFinite(Number(value))) refuse(`"${value}" is no number: "at least" and "at most" compare numbers.`);
    else set({ filters: [...state.filters, [name, sign, value]] });
  },
};

const refuse = (sentence) => fill(by("problem"), el("p", { class: "problem" }, sentence));

addEventListener("popstate", () => {
  const old = state;
  state = read(location.search);
  follow(old);
});
by("code").addEventListener("close", () => state.code !== null && set({ code: null }));
if (matchMedia("(max-width: 760px)").matches) for (const id of ["history", "codes"]) by(id).open = false;
listen(act);
load();
