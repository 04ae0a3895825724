// Questions to the server that this page came from. There is no other that it could ask.

/** What the server said no to: its status and its words. A status of 0: it did not answer. */
export class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function answerTo(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, error.name === "TimeoutError" ? "no answer came in time" : "the server does not answer");
  }
  if (answer.ok) return answer;
  const text = await answer.text().catch(() => "");
  let words = text;
  try {
    words = JSON.parse(text).error;
  } catch {
    // plain text, then
  }
  throw new Refusal(answer.status, words || `status ${answer.status}`);
}

const PATIENCE = 60; // seconds

const within = (signal, seconds = PATIENCE) =>
  AbortSignal.any([AbortSignal.timeout(1000 * seconds), ...(signal ? [signal] : [])]);

async function post(path, body, kind, signal, seconds) {
  const headers = { "Content-Type": kind };
  return (await answerTo(path, { method: "POST", body, headers, signal: within(signal, seconds) })).json();
}

export async function ask(path, signal) {
  return (await answerTo(path, { signal: within(signal) })).json();
}

export async function send(path, value, signal, seconds) {
  return post(path, JSON.stringify(value), "application/json", signal, seconds);
}

/** Send a file, or other bytes, as they are. */
export async function hand(path, bytes, signal) {
  return post(path, bytes, "application/octet-stream", signal);
}

export async function picture(path, signal) {
  return (await answerTo(path, { signal })).blob();
}
