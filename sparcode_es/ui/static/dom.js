// Elements from texts. No text becomes markup: children are text nodes, and the page's policy refuses anything else.

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

/** A text whose control, formatting and line-breaking characters can be seen, as `sparcode_es.visible` shows them. */
export function visible(text) {
  return String(text).replace(HIDDEN, (letter) => {
    const number = letter.codePointAt(0);
    if (number < 32) return String.fromCodePoint(0x2400 + number);
    return number === 127 ? "␡" : `\\u${number.toString(16).padStart(4, "0")}`;
  });
}

/** An element. attributes: strings, numbers, true for a bare one; null and false leave it out; functions listen. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === false || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else made.setAttribute(name, value === true ? "" : visible(value));
  }
  made.append(...nodes(children));
  return made;
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(visible(child))));
}

export const by = (id) => document.getElementById(id);

/** A foreign text that keeps its direction to itself. */
export const said = (text) => el("bdi", {}, text);

/** What an item is called. */
export const titleOf = (item) => item.title || item.id;

/** Some attributes in a line. */
export function attributesOf(item) {
  const values = Object.values(item.attributes || {}).filter((value) => value !== null && value !== "");
  return values.map((value) => (Array.isArray(value) ? value.join(", ") : String(value))).join(" · ");
}

/** A number as people read it. */
export function short(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1000 || size < 0.0001) return size >= 1000 && size < 1e9 ? value.toFixed(1) : value.toExponential(3);
  return value.toFixed(4);
}

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
