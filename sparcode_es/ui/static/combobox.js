// A box that suggests while one types: the pattern "combobox with a list" of the ARIA practices.

import { ask, forget, isOld } from "./ask.js";
import { el, fill } from "./dom.js";

const PAUSE = 120; // Milliseconds without a key before the server is asked.
const BLUR = 150; // So that a tap on a suggestion comes before the list is gone.

/**
 * Make an input suggest.
 * find(text) → {path, params, options(answer) → [{value, label, note}]}, or {options: […]} already known; null for nothing.
 * choose(value) is told what was chosen; free(text), where given, takes what no suggestion was
 * chosen for; else the first suggestion is meant.
 */
export function combobox(input, { find, choose, free = null }) {
  const list = el("ul", { role: "listbox", id: `${input.id}-list`, "aria-label": "Suggestions", hidden: true });
  input.after(list);
  for (const [name, value] of Object.entries({
    role: "combobox",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list.id,
  })) input.setAttribute(name, value);
  let options = [];
  let active = -1;
  let timer = 0;
  let awaited = false; // Whether the list does not answer yet what stands in the box.
  let keys = []; // Pressed meanwhile: they mean the list to come.

  function close() {
    clearTimeout(timer);
    forget(input.id);
    awaited = false;
    keys = [];
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    activate(-1);
  }

  function activate(place) {
    active = place;
    [...list.children].forEach((option, number) => option.setAttribute("aria-selected", String(number === place)));
    const option = list.children[place];
    if (option) {
      input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  }

  function show(found, nothing) {
    options = found;
    const rows = found.map((option, number) =>
      el(
        "li",
        { role: "option", id: `${list.id}-${number}`, "aria-selected": "false", mousedown: keep, click: () => pick(number) },
        el("bdi", {}, option.label),
        option.note && el("small", {}, el("bdi", {}, option.note)),
      ),
    );
    fill(list, rows.length ? rows : el("li", { role: "option", "aria-disabled": "true", class: "none" }, nothing));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(-1);
    awaited = false;
    keys.splice(0).forEach(press);
  }

  function pick(number) {
    const option = options[number];
    close();
    input.value = "";
    choose(option.value);
  }

  function press(key) {
    const last = list.hidden ? -1 : options.length - 1;
    if (key !== "Enter") {
      if (list.hidden) return void suggest();
      const step = key === "ArrowDown" ? 1 : -1;
      if (last >= 0) activate(active < 0 && step < 0 ? last : (active + step + last + 1) % (last + 1));
    } else if (active >= 0) pick(active);
    else if (free === null) last >= 0 ? pick(0) : suggest();
    else if (input.value.trim()) {
      const text = input.value;
      close();
      free(text);
    }
  }

  async function suggest() {
    const wanted = find(input.value);
    if (wanted === null) return close();
    if (wanted.path === undefined) return wanted.options.length ? show(wanted.options) : close();
    try {
      const answer = await ask(input.id, wanted.path, { params: wanted.params });
      if (document.activeElement === input) show(wanted.options(answer), "nothing begins so");
    } catch (error) {
      if (!isOld(error) && document.activeElement === input) show([], error.message);
    }
  }

  const keep = (event) => event.preventDefault();
  const later = () => {
    awaited = true;
    activate(-1);
    clearTimeout(timer);
    timer = setTimeout(suggest, PAUSE);
  };
  input.addEventListener("input", later);
  input.addEventListener("focus", later);
  input.addEventListener("blur", () => setTimeout(close, BLUR));
  input.addEventListener("keydown", (event) => {
    if (["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) {
      event.preventDefault();
      const meansText = event.key === "Enter" && free !== null && keys.length === 0;
      if (awaited && !meansText) keys.push(event.key);
      else press(event.key);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    }
  });
}
