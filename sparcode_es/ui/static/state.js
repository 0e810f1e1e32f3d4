// What is asked and shown, in the address: a link gives the same view again.

const SIGNS = { "=": "all", "!=": "none", ">=": "gte", "<=": "lte" };

/** The state that an address tells. */
export function read(search) {
  const params = new URLSearchParams(search);
  const items = params.getAll("item");
  return {
    user: items.length ? null : params.get("user"),
    items,
    k: Math.min(100, Math.max(1, Number.parseInt(params.get("k"), 10) || 10)),
    unseen: params.get("seen") !== "1",
    filters: lists(params, "filter", (each) => each.length === 3 && each[1] in SIGNS && each.every(isText)),
    boosts: lists(params, "boost", (each) => each.length === 3 && isText(each[0]) && isText(each[1]) && each[2] > 0),
    place: params.get("place") || "",
    other: params.get("other") || "",
    why: params.get("why"),
    code: params.get("code"),
  };
}

/** The address of a state: what is as usual is left out. */
export function write(state) {
  const params = new URLSearchParams();
  if (state.user !== null) params.set("user", state.user);
  for (const item of state.items) params.append("item", item);
  if (state.k !== 10) params.set("k", state.k);
  if (!state.unseen) params.set("seen", "1");
  for (const each of state.filters) params.append("filter", JSON.stringify(each));
  for (const each of state.boosts) params.append("boost", JSON.stringify(each));
  for (const name of ["place", "other", "why", "code"]) if (state[name]) params.set(name, state[name]);
  const text = params.toString();
  return text ? `?${text}` : location.pathname;
}

/** Whether anybody is named. */
export const isAsked = (state) => state.user !== null || state.items.length > 0;

/** The state as the server is asked. Objects without a prototype: an attribute may have any name. */
export function question(state) {
  return {
    ...(state.items.length ? { history: state.items } : { user: state.user }),
    k: state.k,
    exclude_seen: state.unseen,
    filter: filterOf(state.filters),
    boost: boostOf(state.boosts),
    place: state.place,
  };
}

function filterOf(filters) {
  const found = Object.create(null);
  for (const [name, sign, value] of filters) {
    const own = (found[name] ??= {});
    if (sign === "=" || sign === "!=") (own[SIGNS[sign]] ??= []).push(value);
    else own[SIGNS[sign]] = tighter(sign, own[SIGNS[sign]], Number(value));
  }
  return found;
}

const tighter = (sign, old, value) =>
  old === undefined ? value : sign === ">=" ? Math.max(old, value) : Math.min(old, value);

function boostOf(boosts) {
  const found = Object.create(null);
  for (const [name, value, weight] of boosts) (found[name] ??= Object.create(null))[value] = weight;
  return found;
}

const isText = (value) => typeof value === "string" && value !== "";

function lists(params, name, good) {
  const found = [];
  for (const text of params.getAll(name)) {
    try {
      const each = JSON.parse(text);
      if (Array.isArray(each) && good(each)) found.push(each);
    } catch {
      // Not one of ours: an address that somebody has shortened.
    }
  }
  return found;
}
