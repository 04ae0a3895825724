// Pictures that are wanted now or soon, few at a time, the most wanted first; the ones seen last are kept.

import { picture } from "./server.js";

const AT_ONCE = 4;
const AGAIN = 1500; // milliseconds, where the server did not answer

export class Pictures {
  #kept = new Map(); // name → {url} or {error}, in the order of use
  #loading = new Map(); // name → AbortController
  #wanted = [];
  #timer = 0;

  /** path(key, side); arrived(key, side): a picture, or the reason why there is none, can be had by `get`. */
  constructor({ path, arrived, most }) {
    Object.assign(this, { path, arrived, most });
  }

  /** {url} or {error} of a picture that is here, or undefined. */
  get(key, side) {
    const name = `${key} ${side}`;
    const found = this.#kept.get(name);
    if (found) {
      this.#kept.delete(name);
      this.#kept.set(name, found);
    }
    return found;
  }

  /** Exactly these are wanted now, [key, side] each, the most wanted first. */
  want(list) {
    this.#wanted = list.map(([key, side]) => ({ key, side, name: `${key} ${side}` }));
    const names = new Set(this.#wanted.map((one) => one.name));
    for (const [name, controller] of this.#loading) if (!names.has(name)) controller.abort();
    this.#pump();
  }

  /** Ask anew where there was an error: it may be mended. */
  forgetErrors() {
    for (const [name, { error }] of this.#kept) if (error) this.#kept.delete(name);
  }

  #pump() {
    for (const one of this.#wanted) {
      if (this.#loading.size >= AT_ONCE) return;
      if (!this.#kept.has(one.name) && !this.#loading.has(one.name)) this.#load(one);
    }
  }

  async #load({ key, side, name }) {
    const controller = new AbortController();
    this.#loading.set(name, controller);
    let again = false;
    try {
      const url = URL.createObjectURL(await picture(this.path(key, side), controller.signal));
      this.#keep(name, { url });
      this.arrived(key, side);
    } catch (error) {
      if (error.status >= 400 && error.status !== 401 && error.status < 500) {
        this.#keep(name, { error: error.message });
        this.arrived(key, side);
      } else again = error.name !== "AbortError";
    }
    this.#loading.delete(name);
    if (again) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#pump(), AGAIN);
    } else this.#pump();
  }

  #keep(name, value) {
    this.#kept.set(name, value);
    const wanted = new Set(this.#wanted.map((one) => one.name));
    for (const [old, { url }] of this.#kept) {
      if (this.#kept.size <= this.most) break;
      if (wanted.has(old)) continue;
      if (url) URL.revokeObjectURL(url);
      this.#kept.delete(old);
    }
  }
}
