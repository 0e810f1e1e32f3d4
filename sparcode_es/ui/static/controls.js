// The question's controls: who, filters and boosts, what to compare with.

import { combobox } from "./combobox.js";
import { attributesOf, by, el, fill, said, titleOf } from "./dom.js";

const SIGNS = { "=": "is", "!=": "is not", ">=": "at least", "<=": "at most" };

/** Items that a box suggests, for `combobox`. */
const suggested = ({ items }) =>
  items.map((item) => ({ value: item.id, label: titleOf(item), note: [item.title && item.id, attributesOf(item)].filter(Boolean).join(" · ") }));

/** Join the controls to what they change: act has place(), user(id), add(item), set(change), asked(item), condition(…). */
export function listen(act) {
  combobox(by("user"), {
    find: (q) => ({
      path: "/api/users",
      params: { q, place: act.place() },
      options: ({ users }) => users.map((user) => ({ value: user, label: user })),
    }),
    choose: act.user,
    free: act.user,
  });
  const items = (q) => ({ path: "/api/items", params: { q, place: act.place() }, options: suggested });
  by("user").addEventListener("focus", () => by("user").select());
  combobox(by("title"), { find: items, choose: act.add });
  combobox(by("asked"), { find: items, choose: act.asked });
  listenToConditions(act);
  by("k").addEventListener("change", () => act.set({ k: Number(by("k").value) }));
  by("unseen").addEventListener("change", () => act.set({ unseen: by("unseen").checked }));
  by("other").addEventListener("change", () => act.set({ other: by("other").value }));
}

function listenToConditions(act) {
  const known = new Map();
  const add = (value) => {
    if (by("name").value && value.trim()) act.condition(by("name").value, by("sign").value, value, Number(by("weight").value));
    by("value").value = "";
    by("value").focus();
  };
  combobox(by("value"), {
    find: (typed) => {
      const name = by("name").value;
      if (known.get(name)) return { options: begun(known.get(name), typed) };
      const keep = ({ values }) => begun(known.set(name, values).get(name), typed);
      return name ? { path: "/api/values", params: { name, place: act.place() }, options: keep } : null;
    },
    choose: add,
    free: add,
  });
  by("name").addEventListener("change", () => (by("value").value = ""));
  by("sign").addEventListener("change", () => (by("weight-field").hidden = by("sign").value !== "*"));
  by("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    add(by("value").value);
  });
}

function begun(values, typed) {
  const wanted = typed.trim().toLowerCase();
  return values.filter((value) => value.toLowerCase().includes(wanted)).slice(0, 30).map((value) => ({ value, label: value }));
}

/** What the page's server said of itself. */
export function drawAbout(about) {
  const { info } = about;
  fill(
    by("engine"),
    el("span", { class: "badge" }, info.engine),
    el("span", {}, el("code", {}, said(info.engine === "embedded" ? info.where : info.generation))),
    el("span", {}, `${info.num_items.toLocaleString("en")} items · ${info.num_users.toLocaleString("en")} users`),
  );
  fill(by("name"), about.attributes.map((name) => el("option", { value: name }, name)));
  by("conditions").hidden = about.attributes.length === 0;
  by("title").disabled = !about.histories;
  by("no-histories").hidden = about.histories;
  fill(
    by("no-histories"),
    "Histories need the model’s encoder: start the page with ",
    el("code", {}, "--encoder"),
    " or ",
    el("code", {}, "--checkpoint"),
    ". Known users need neither.",
  );
}

/** The state in the controls. remove(kind, place) takes a filter or a boost away. */
export function drawControls(state, about, remove) {
  if (by("user").getAttribute("aria-expanded") === "false") by("user").value = state.user ?? "";
  by("k").value = String(state.k);
  if (by("k").value !== String(state.k)) by("k").append(el("option", { selected: true }, state.k));
  by("unseen").checked = state.unseen;
  const others = about.places.filter((each) => each.key !== about.place);
  fill(by("other"), el("option", { value: "" }, others.length ? "nothing" : "nothing else here"), others.map(named));
  by("other").value = state.other;
  by("other").disabled = others.length === 0;
  fill(
    by("chips"),
    state.filters.map(([name, sign, value], place) => chip(`${name} ${SIGNS[sign]} ${value}`, () => remove("filters", place))),
    state.boosts.map(([name, value, weight], place) => chip(`${name} ${value} × ${weight}`, () => remove("boosts", place))),
  );
}

const named = (each) => el("option", { value: each.key }, each.live ? `${each.key} (live)` : each.key);

function chip(text, remove) {
  return el("li", {}, said(text), el("button", { type: "button", class: "remove", "aria-label": `Remove ${text}`, click: remove }, "×"));
}
