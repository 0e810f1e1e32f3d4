// Asking the page's server: one request a channel at a time, an older one is given up.

const running = new Map();

/** Something went wrong, in a sentence. */
export class Problem extends Error {}

/** Whether an error says that a newer question has taken a question's place. */
export const isOld = (error) => error.name === "AbortError";

/** GET with parameters, or POST with a body; the JSON answer. Throws `Problem`. */
export async function ask(channel, path, { params = null, body = null } = {}) {
  running.get(channel)?.abort();
  const control = new AbortController();
  running.set(channel, control);
  busy();
  try {
    return await send(params === null ? path : `${path}?${new URLSearchParams(params)}`, body, control.signal);
  } finally {
    if (running.get(channel) === control) running.delete(channel);
    busy();
  }
}

/** Give a channel's question up. */
export function forget(channel) {
  running.get(channel)?.abort();
}

async function send(url, body, signal) {
  const post = { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  let answer;
  try {
    answer = await fetch(url, { ...(body === null ? {} : post), signal });
  } catch (error) {
    if (isOld(error)) throw error;
    throw new Problem("The page's own server does not answer. Does `sparcode-es ui` still run?");
  }
  let content = null;
  try {
    content = await answer.json();
  } catch (error) {
    if (isOld(error)) throw error;
  }
  if (answer.ok && content !== null) return content;
  throw new Problem(content?.error || `The page's server failed (${answer.status}); its terminal says more.`);
}

function busy() {
  document.getElementById("progress").hidden = running.size === 0;
  document.body.toggleAttribute("data-busy", running.size > 0);
}
