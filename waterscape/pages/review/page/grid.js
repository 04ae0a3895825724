// A grid of any number of cells, of which only those near the window exist.

import { Pictures } from "./pictures.js";

const WIDTHS = [150, 210, 300, 420, 600, 900]; // of a cell, at least, in CSS pixels
const GAP = 8;
const SHAPE = 0.7; // height of a cell by its width
const SIDES = [320, 640, 1280, 2560];
const TALLEST = 8e6; // CSS pixels: browsers draw no taller boxes well; beyond, scrolling is geared up
const AHEAD = 1.5; // windows that are prepared in the direction of scrolling
const BEHIND = 0.5;

/** The smallest side that the server offers for so many CSS pixels. */
export function sideFor(pixels) {
  const wanted = pixels * Math.min(devicePixelRatio, 2);
  return SIDES.find((side) => side >= wanted * 0.9) ?? SIDES.at(-1);
}

export class Grid {
  #cells = new Map(); // index → element
  #pool = [];
  #frame = 0;
  #top = 0;

  /** scroller, sheet: elements. fill(cell, index): write all but the picture. open(index): it was clicked. */
  constructor({ scroller, sheet, fill, open }) {
    Object.assign(this, { scroller, sheet, fill, open, keys: [], focus: 0, size: 2 });
    this.pictures = new Pictures({
      path: (key, side) => `/pictures/${encodeURIComponent(key)}/${side}`,
      arrived: (key) => this.#arrived(key),
      most: 600,
    });
    scroller.addEventListener("scroll", () => this.#soon(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(scroller);
    sheet.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) this.open(cell.index);
    });
  }

  /** Show other photos. */
  show(keys, focus) {
    this.keys = keys;
    this.focus = Math.max(0, Math.min(focus, keys.length - 1));
    for (const [index, cell] of this.#cells) this.#free(index, cell);
    this.layout();
  }

  /** Larger (+1) or smaller (-1) cells. */
  resize(by) {
    this.size = Math.max(0, Math.min(this.size + by, WIDTHS.length - 1));
    this.layout();
  }

  moveTo(index) {
    const before = this.focus;
    this.focus = Math.max(0, Math.min(index, this.keys.length - 1));
    for (const one of [before, this.focus]) this.refresh(one);
    this.#reveal();
    this.#draw();
  }

  /** Write a cell anew, where it exists. */
  refresh(index) {
    const cell = this.#cells.get(index);
    if (cell) this.#fill(cell);
  }

  refreshAll() {
    for (const cell of this.#cells.values()) this.#fill(cell);
  }

  get rowsInWindow() {
    return Math.max(1, Math.floor(this.#height / this.row));
  }

  layout() {
    this.width = this.scroller.clientWidth - 2 * GAP;
    this.#height = this.scroller.clientHeight;
    if (this.width <= 0 || this.#height <= 0) return;
    this.columns = Math.max(1, Math.floor((this.width + GAP) / (WIDTHS[this.size] + GAP)));
    this.cell = Math.floor((this.width - GAP * (this.columns - 1)) / this.columns);
    const tallest = Math.max(80, this.#height - 2 * GAP);
    this.row = Math.min(Math.round(this.cell * SHAPE), tallest) + GAP;
    this.side = sideFor(this.cell);
    this.total = Math.ceil(this.keys.length / this.columns) * this.row + GAP;
    const box = Math.min(this.total, TALLEST);
    this.gear = box < this.total ? (this.total - this.#height) / (box - this.#height) : 1;
    this.sheet.style.height = `${box}px`;
    this.#reveal();
    for (const [index, cell] of this.#cells) this.#free(index, cell);
    this.#draw();
  }

  #height = 0;

  /** Scroll so far that the focused photo is in the window as a whole. */
  #reveal() {
    if (!this.keys.length || !this.row) return;
    const top = Math.floor(this.focus / this.columns) * this.row;
    const bottom = top + this.row + GAP;
    const now = this.scroller.scrollTop * this.gear;
    if (top < now) this.scroller.scrollTop = top / this.gear;
    else if (bottom > now + this.#height) this.scroller.scrollTop = Math.ceil((bottom - this.#height) / this.gear);
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Make the cells near the window exist, and no others. */
  #draw() {
    if (!this.row) return;
    const scrolled = this.scroller.scrollTop;
    const top = scrolled * this.gear;
    const down = top >= this.#top;
    this.#top = top;
    const [above, below] = down ? [BEHIND, AHEAD] : [AHEAD, BEHIND];
    const first = Math.max(0, Math.floor((top - above * this.#height) / this.row)) * this.columns;
    const end = (Math.floor((top + (1 + below) * this.#height) / this.row) + 1) * this.columns;
    const last = Math.min(end, this.keys.length);
    for (const [index, cell] of this.#cells) if (index < first || index >= last) this.#free(index, cell);
    for (let index = first; index < last; index++) {
      let cell = this.#cells.get(index);
      if (!cell) {
        cell = this.#pool.pop() ?? this.#make();
        cell.index = index;
        cell.hidden = false;
        this.#cells.set(index, cell);
        cell.style.width = `${this.cell}px`;
        cell.style.height = `${this.row - GAP}px`;
        this.#fill(cell);
      }
      const left = GAP + (index % this.columns) * (this.cell + GAP);
      const y = Math.floor(index / this.columns) * this.row + GAP - top + scrolled;
      const place = `translate(${left}px, ${y}px)`;
      if (cell.place !== place) cell.style.transform = cell.place = place;
    }
    this.#want(first, last, top);
  }

  /** Pictures in the window first, then those ahead. */
  #want(first, last, top) {
    const middle = (top + this.#height / 2) / this.row;
    const list = [];
    for (let index = first; index < last; index++) list.push(index);
    const distance = (index) => Math.abs(Math.floor(index / this.columns) + 0.5 - middle);
    list.sort((one, other) => distance(one) - distance(other) || one - other);
    this.pictures.want(list.map((index) => [this.keys[index], this.side]));
  }

  #make() {
    const cell = document.createElement("div");
    cell.className = "cell";
    cell.setAttribute("role", "option");
    const [image, flags, badge, note] = ["img", "div", "div", "p"].map((kind) => document.createElement(kind));
    image.alt = "";
    image.decoding = "async";
    image.draggable = false;
    [flags.className, badge.className, note.className] = ["flags", "badge", "note"];
    cell.append(image, note, flags, badge);
    Object.assign(cell, { image, flags, badge, note });
    this.sheet.append(cell);
    return cell;
  }

  #free(index, cell) {
    this.#cells.delete(index);
    cell.image.removeAttribute("src");
    cell.hidden = true;
    cell.index = -1;
    cell.classList.remove("focused");
    cell.badge.textContent = cell.flags.textContent = cell.note.textContent = "";
    for (const name of ["id", "data-photo", "data-kind", "aria-label"]) cell.removeAttribute(name);
    this.#pool.push(cell);
  }

  #fill(cell) {
    const focused = cell.index === this.focus;
    cell.classList.toggle("focused", focused);
    cell.setAttribute("aria-selected", focused);
    cell.id = `photo-${cell.index}`;
    if (focused) this.scroller.setAttribute("aria-activedescendant", cell.id);
    this.fill(cell, cell.index);
    this.#picture(cell);
  }

  #picture(cell) {
    const found = this.pictures.get(this.keys[cell.index], this.side);
    cell.classList.toggle("waits", !found);
    cell.note.textContent = found?.error ?? "";
    if (found?.url && cell.image.src !== found.url) cell.image.src = found.url;
  }

  #arrived(key) {
    for (const cell of this.#cells.values()) if (this.keys[cell.index] === key) this.#picture(cell);
  }
}
