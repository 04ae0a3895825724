// One photo in place of the grid: fitted to it, or in its own pixels.

import { sideFor } from "./grid.js";
import { Pictures } from "./pictures.js";

export class Zoom {
  #key = null;
  #next = [];

  /** covered: the element that it lies over, which no key reaches meanwhile. */
  constructor(element, covered) {
    Object.assign(this, { element, covered });
    this.image = element.querySelector("img");
    this.caption = element.querySelector(".caption");
    this.stage = element.querySelector(".stage");
    this.pictures = new Pictures({
      path: (key, side) => `/pictures/${encodeURIComponent(key)}/${side}`,
      arrived: () => this.#draw(),
      most: 12,
    });
    this.image.addEventListener("click", () => this.toggle());
    element.querySelector(".close").addEventListener("click", () => this.close());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  open() {
    this.element.hidden = false;
    this.covered.inert = true;
    this.stage.classList.remove("actual");
    if (this.#key) this.show(this.#key, this.#next, this.caption.textContent);
  }

  close() {
    this.element.hidden = true;
    this.covered.inert = false;
    this.covered.focus();
    this.pictures.want([]);
  }

  /** Fitted, or own pixels. */
  toggle() {
    this.stage.classList.toggle("actual");
  }

  /** Another photo has the focus; `next`: keys of those that probably follow, to be had already. */
  show(key, next, words) {
    this.#key = key;
    this.#next = next;
    this.caption.textContent = words;
    if (!this.isOpen) return;
    this.side = sideFor(Math.max(innerWidth, innerHeight));
    this.pictures.want([key, ...next].map((one) => [one, this.side]));
    this.#draw();
  }

  #draw() {
    const found = this.#key && this.pictures.get(this.#key, this.side);
    this.element.classList.toggle("waits", !found);
    if (found?.url) {
      if (this.image.src !== found.url) this.image.src = found.url;
    } else this.image.removeAttribute("src");
    this.element.querySelector(".stage").dataset.error = found?.error ?? "";
  }
}
