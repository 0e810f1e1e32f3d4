// Why an item, or why not; and what a code is.

import { attributesOf, by, el, fill, percent, plural, said, short, titleOf } from "./dom.js";
import { key } from "./side.js";

let exact = false;

/** The panel of an item's reasons. open(term) shows a code. */
export function drawWhy(told, colours, open) {
  const about = attributesOf(told.item);
  fill(
    by("why-body"),
    el("h3", {}, said(titleOf(told.item)), told.item.title && el("code", {}, said(told.item.id))),
    about && el("p", { class: "hint" }, said(about)),
    el("ul", { class: `verdict ${told.recommended ? "yes" : "no"}` }, told.verdict.map((each) => el("li", {}, each))),
    told.parts.length > 0 && sum(told, colours, open),
    told.without.length > 0 && told.known && without(told, colours, open),
  );
}

/** Σ of the values as the engine adds them up: float64 one after the other, or float32 values summed and rounded. */
export function added(parts, arithmetic) {
  const total = parts.reduce((sum, part) => sum + part.value, 0);
  return arithmetic.startsWith("float32") ? Math.fround(total) : total;
}

function sum(told, colours, open) {
  const digits = exact ? String : short;
  const total = added(told.parts, told.arithmetic);
  const right = total === told.total && (told.weight !== 1 || total === told.score);
  const toggle = el("input", { type: "checkbox", id: "exact", checked: exact, change: (event) => again(event, told, colours, open) });
  const ordered = [...told.parts].sort((one, other) => other.value - one.value);
  const most = Math.max(ordered[0].value, 1e-9);
  return [
    el(
      "table",
      { class: exact ? "exact" : null },
      el("caption", { class: "unseen" }, "What each code gave"),
      el("thead", {}, el("tr", {}, head("Code"), head("Boost", "number"), head("× score", "number"), head("= given", "number"))),
      el("tbody", {}, ordered.map((part) => partRow(part, most, colours, open, digits))),
      el("tfoot", {}, total_row("Sum", told.total, digits), told.weight !== 1 && weighed(told, digits)),
    ),
    el("p", { class: right ? "sum right" : "sum wrong" }, right ? `✓ ${proof(told)}` : "✗ The values do not add up to the score."),
    el("label", { class: "check" }, toggle, " Every digit"),
  ];
}

function proof(told) {
  if (told.weight !== 1) return `Adds up to the codes’ sum, to the last digit; boosts make ${short(told.score)} of it.`;
  return `Adds up to the score, ${exact ? told.score : short(told.score)}, to the last digit.`;
}

function again(event, ...drawn) {
  exact = event.target.checked;
  drawWhy(...drawn);
  by("exact").focus();
}

const head = (text, kind = null) => el("th", { scope: "col", class: kind }, text);

const cell = (text) => el("td", { class: "number" }, text);

function partRow(part, most, colours, open, digits) {
  const bar = el("i", { class: `bar c${colours.get(part.term) ?? 8}`, "aria-hidden": "true" });
  bar.style.width = `${(100 * part.value) / most}%`;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, codeButton(part, colours, open), bar),
    cell(digits(part.boost)),
    cell(digits(part.score)),
    cell(digits(part.value)),
  );
}

function codeButton(part, colours, open) {
  const shown = part.name && part.name !== part.term;
  return el(
    "button",
    { type: "button", class: "link", click: () => open(part.term) },
    key(colours, part.term),
    said(part.name || part.term),
    shown && el("code", {}, said(part.term)),
  );
}

const total_row = (label, value, digits) => el("tr", {}, el("th", { scope: "row", colspan: 3 }, label), cell(digits(value)));

const weighed = (told, digits) => total_row(`× ${told.weight}, the boosts`, told.score, digits);

function without(told, colours, open) {
  return el(
    "details",
    { open: told.parts.length === 0 },
    el("summary", {}, plural(told.without.length, "code"), " without a posting for it"),
    el("ul", { class: "plain" }, told.without.map((each) => el("li", {}, codeButton(each, colours, open)))),
  );
}

/** A code in the dialog. close() is told when it is closed. */
export function drawCode(told, open) {
  const facts = [
    ["term", el("code", {}, said(told.code))],
    ["kind", told.kind === "item" ? "an item of the history, standing for itself" : "learned"],
    ["users", told.users.toLocaleString("en")],
    ["items", told.items.toLocaleString("en")],
    ["traffic", percent(told.traffic)],
  ];
  fill(
    by("code"),
    el("form", { method: "dialog" }, el("button", { class: "small" }, "Close")),
    el("h2", { id: "code-title" }, said(told.name)),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
    el("h3", {}, "Best items"),
    el("ol", {}, told.top_items.map((item) => el("li", {}, said(titleOf({ ...item, id: item.item })), " ", el("small", {}, short(item.score))))),
    told.neighbours.length > 0 && el("h3", {}, "Codes with similar items"),
    el("ul", { class: "plain" }, told.neighbours.map((each) => neighbour(each, open))),
  );
  if (!by("code").open) by("code").showModal();
}

function neighbour(each, open) {
  return el(
    "li",
    {},
    el("button", { type: "button", class: "link", click: () => open(each.code) }, said(each.name || each.code)),
    " ",
    el("small", {}, el("code", {}, said(each.code)), ` cosine ${each.cosine.toFixed(2)}`),
  );
}
