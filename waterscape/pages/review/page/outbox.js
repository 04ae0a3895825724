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
   * said(answer): the server has it. trouble(refusal or null): it cannot be had just now, or can again.
   */
  constructor({ standing, said, trouble }) {
    Object.assign(this, { standing, said, trouble });
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
    while (this.#queue.length) {
      const batch = this.#batch();
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
          this.#queue.splice(0, batch.length);
          this.said({ standing: [] });
        }
        this.trouble(refusal);
        await new Promise((go) => setTimeout(go, PAUSES[Math.min(attempt++, PAUSES.length - 1)]));
      }
    }
    this.#running = false;
  }

  /** The next actions: each photo at most once, so that one which takes back knows what the server said before. */
  #batch() {
    const photos = new Set();
    const batch = [];
    for (const action of this.#queue) {
      if (photos.has(action.photo) || batch.length === MOST) break;
      if (action.verdict === null) action.at ??= this.standing(action.photo)?.at ?? 0;
      photos.add(action.photo);
      batch.push(action);
    }
    return batch;
  }
}
