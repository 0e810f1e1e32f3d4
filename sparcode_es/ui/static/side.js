// Who: the history and the codes.

import { by, el, fill, percent, plural, said, short, titleOf } from "./dom.js";

const COLOURS = 8;

/** Code → its colour's number: those that gave the items most have one each, the others share the last. */
export function coloursOf({ codes = [], items = [] }) {
  const given = new Map(codes.map((code) => [code.term, 0]));
  for (const item of items) for (const part of item.parts) given.set(part.term, (given.get(part.term) ?? 0) + part.value);
  const terms = [...given.keys()].sort((one, other) => given.get(other) - given.get(one));
  return new Map(terms.map((term, place) => [term, Math.min(place, COLOURS)]));
}

/** The little square of a code's colour. */
export const key = (colours, term) => el("i", { class: `key c${colours.get(term) ?? COLOURS}`, "aria-hidden": "true" });

/**
 * The history, the latest item first. own: whether it was put together here, item by item, and its items can be removed.
 * act: {remove(place from the end), clear(), edit() or null}
 */
export function drawHistory(answer, own, act) {
  const { history, seen } = answer;
  by("history").hidden = !seen;
  if (!seen) return;
  fill(by("history-count"), plural(seen, "item"));
  const tools = own
    ? el("button", { type: "button", class: "small", click: act.clear }, "Clear")
    : act.edit && el("button", { type: "button", class: "small", click: act.edit }, "Change this history");
  fill(by("history-tools"), tools);
  const rows = history.map((item, place) =>
    el(
      "li",
      {},
      el("span", { class: "name" }, said(titleOf(item)), item.title && el("code", {}, said(item.id))),
      own &&
        el(
          "button",
          { type: "button", class: "remove", "aria-label": `Remove ${titleOf(item)}`, click: () => act.remove(place) },
          "×",
        ),
    ),
  );
  const more = seen > history.length && el("li", { class: "hint" }, `and ${plural(seen - history.length, "earlier item")}`);
  fill(by("history-list"), rows, more);
}

/** The codes, largest first, each with its share of the boosts. */
export function drawCodes(answer, colours, open) {
  by("codes").hidden = answer.codes.length === 0;
  fill(by("codes-count"), plural(answer.codes.length, "code"));
  const most = Math.max(...answer.codes.map((code) => code.share), 1e-9);
  fill(by("codes-list"), answer.codes.map((code) => codeRow(code, colours, most, open)));
}

function codeRow(code, colours, most, open) {
  const bar = el("i", { class: `bar c${colours.get(code.term)}`, "aria-hidden": "true" });
  bar.style.width = `${(100 * code.share) / most}%`;
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "code", click: () => open(code.term) },
      el("span", { class: "name" }, key(colours, code.term), said(code.name)),
      el("span", { class: "figures" }, el("code", {}, said(code.term)), ` boost ${short(code.boost)} · ${percent(code.share)}`),
      bar,
    ),
  );
}
