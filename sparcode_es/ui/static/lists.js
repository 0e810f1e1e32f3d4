// What is recommended: one list, or two side by side.

import { attributesOf, by, el, fill, percent, plural, said, short, titleOf } from "./dom.js";

/**
 * Draw one side: "left" or "right".
 * side: {answer or {error}, heading, places: for each item its place on the other side, or null without one, colours, chosen, why}
 */
export function drawSide(id, side) {
  const section = by(id);
  section.hidden = side === null;
  if (side === null) return fill(section);
  const { answer, heading } = side;
  const title = el("h2", { id: `${id}-title` }, heading);
  if (answer.error) return fill(section, title, el("p", { class: "problem" }, answer.error));
  fill(section, title, told(answer), answer.items.length ? list(answer, side) : nothing(answer));
  return undefined;
}

/** Which item's reasons are shown. */
export function markChosen(item) {
  for (const button of document.querySelectorAll("button.item")) {
    button.setAttribute("aria-pressed", String(item !== null && button.value === item));
  }
}

/** How two lists differ, in words. */
export function difference({ shared, same_place, only_left, only_right }) {
  const all = shared + Math.max(only_left, only_right);
  const share = all ? ` (${percent(shared / all)})` : "";
  return `${plural(shared, "item")} in both${share}, ${same_place} at the same place; ${only_left} only here, ${only_right} only there`;
}

function told(answer) {
  if (answer.source === "popular") {
    return el("p", { class: "problem" }, el("strong", {}, "Popular items, not this person’s: "), answer.reason);
  }
  const place = el("code", {}, said(answer.place));
  return el("p", { class: "hint" }, place, ` · ${answer.milliseconds.toFixed(1)} ms`);
}

function nothing(answer) {
  const reason = answer.codes.length ? "Nothing is left: the filters hold for none of the items that the codes find." : "Nothing is recommended.";
  return el("p", { class: "empty" }, reason);
}

function list(answer, side) {
  const most = Math.max(...answer.items.map((item) => item.score ?? 0), 1e-9);
  const rows = answer.items.map((item, place) => row(item, place, most, side));
  return el("ol", { class: "items", keydown: walk }, rows);
}

function row(item, place, most, side) {
  const { places, colours, chosen, why } = side;
  const about = attributesOf(item);
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "item", value: item.id, "aria-pressed": String(item.id === chosen), click: () => why(item.id) },
      el("span", { class: "place" }, place + 1),
      el(
        "span",
        { class: "what" },
        el("span", { class: "name" }, said(titleOf(item)), item.title && el("code", {}, said(item.id))),
        about && el("small", {}, said(about)),
      ),
      el("span", { class: "score" }, item.score === null ? "–" : short(item.score), places && moved(place + 1, places[place])),
      item.parts.length > 0 && stack(item, most, colours),
    ),
  );
}

function moved(here, there) {
  if (there === null) return el("span", { class: "move only" }, "only here");
  if (there === here) return el("span", { class: "move" }, "=", el("span", { class: "unseen" }, " same place"));
  const up = there > here;
  const steps = Math.abs(there - here);
  return el(
    "span",
    { class: `move ${up ? "up" : "down"}` },
    `${up ? "▲" : "▼"} ${steps}`,
    el("span", { class: "unseen" }, up ? " places higher than there" : " places lower than there"),
  );
}

/** What each code gave, as one bar. */
function stack(item, most, colours) {
  const parts = [...item.parts].sort((one, other) => (colours.get(one.term) ?? 99) - (colours.get(other.term) ?? 99));
  const drawn = parts.map((part) => {
    const piece = el("i", { class: `c${colours.get(part.term) ?? 8}` });
    piece.style.width = `${(100 * part.value * item.weight) / most}%`;
    return piece;
  });
  return el("span", { class: "stack", "aria-hidden": "true" }, drawn);
}

/** Up and down go from item to item. */
function walk(event) {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const buttons = [...event.currentTarget.querySelectorAll("button.item")];
  const next = buttons[buttons.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1)];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
