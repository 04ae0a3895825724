// Decisions on their way to the ledger: in order, again and again until the server has them on its disk.

import { Refusal, send } from "./server.js";

const MOST = 50; // actions sent together
const PAUSES = [500, 1000, 2000, 4000]; // milliseconds between attempts
const FINAL = [400, 413, 415]; // what asking again does not mend

export class Outbox {
  #queue = [];
  #running = false;

  /**
   * standing(photo): what the server last said of a photo, {verdict, reason, at} or undefined.
   * said(answer): the server has it. refused(action, words): it never will.
   * trouble(refusal or null): it cannot be had just now, or can again.
   */
  constructor({ standing, said, refused, trouble }) {
    Object.assign(this, { standing, said, refused, trouble });
  }

  get waiting() {
    return this.#queue.length;
  }

  /** What waits of a photo: the last action, or undefined. */
  of(photo) {
    return this.#queue.findLast((action) => action.photo === photo);
  }

  /** {photo, verdict, reason}, or a verdict of null to take back what stands of the photo by then. */
  push(action) {
    this.#queue.push({ ...action });
    if (!this.#running) this.#run();
  }

  async #run() {
    this.#running = true;
    let attempt = 0;
    let most = MOST;
    while (this.#queue.length) {
      const batch = this.#batch(most);
      try {
        const wire = batch.map(({ photo, verdict, reason, at }) =>
          verdict ? { photo, verdict, reason: reason ?? "" } : { photo, verdict, at });
        const answer = await send("/api/decisions", wire);
        this.#queue.splice(0, batch.length);
        this.said(answer);
        attempt = 0;
        this.trouble(null);
      } catch (error) {
        const refusal = error instanceof Refusal ? error : new Refusal(0, String(error));
        if (FINAL.includes(refusal.status)) {
          if (batch.length === 1) this.refused(this.#queue.shift(), refusal.message);
          most = 1; // so that one which is refused takes no others with it
          continue;
        }
        this.trouble(refusal);
        await new Promise((go) => setTimeout(go, PAUSES[Math.min(attempt++, PAUSES.length - 1)]));
      }
    }
    this.#running = false;
  }

  /** The next actions: each photo at most once, so that one which takes back knows what the server said before. */
  #batch(most) {
    const photos = new Set();
    const batch = [];
    for (const action of this.#queue) {
      if (photos.has(action.photo) || batch.length === most) break;
      if (action.verdict === null) action.at ??= this.standing(action.photo)?.at ?? 0;
      photos.add(action.photo);
      batch.push(action);
    }
    return batch;
  }
}
