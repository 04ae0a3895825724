// Water at 64×64, drawn or uploaded, and the same enlarged; what classifiers of shapes call it.

import { bars } from "./classify.js";
import { $, Newest, bytes, checked, chooser, element, files, radio, show, told } from "./parts.js";
import { hand } from "./server.js";

const SIDE = 64;
const REST = 200; // milliseconds after a stroke
const STROKES = 50; // that can be undone

export class Water {
  #percent = new Uint8Array(SIDE * SIDE);
  #done = [];
  #from = null; // where the stroke under way was last
  #timer = 0;

  constructor(root, about, { trouble }) {
    Object.assign(this, { root, about, trouble });
    this.newest = new Newest(trouble);
    this.canvas = $("#drawn");
    this.palette = bytes(about.palette);
    this.run = chooser($(".runs", root), about, about.enlargers, () => this.#enlarge());
    this.classifiers = about.classifiers.filter((one) => one.takes === "water");
    $(".views", root).classList.toggle("alone", !about.enlargers.length);
    this.#legend();
    radio($(".brushes", root), () => {});
    $(".percent", root).addEventListener("input", () => {
      $("output", root).textContent = `${$(".percent", root).value} %`;
    });
    $(".clear", root).addEventListener("click", () => this.#change(() => this.#percent.fill(0)));
    $(".undo", root).addEventListener("click", () => this.#undo());
    files($("input[type=file]", root), $(".drop", root), ([file]) => this.#upload(file));
    this.canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.#from) for (const one of event.getCoalescedEvents?.() ?? [event]) this.#stroke(one);
    });
    for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => this.#end());
    root.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
        event.preventDefault();
        this.#undo();
      }
    });
    this.#draw();
    this.#enlarge();
  }

  /** Water of elsewhere (base64), to be drawn on. */
  take(water) {
    this.#change(() => this.#percent.set(bytes(water)));
  }

  #begin(event) {
    event.preventDefault();
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    this.#keep();
    this.#from = this.#place(event);
    this.#stroke(event);
  }

  #stroke(event) {
    const to = this.#place(event);
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - this.#from[0], to[1] - this.#from[1])));
    for (let step = 0; step <= steps; step += 1) {
      this.#dab(...[0, 1].map((axis) => this.#from[axis] + ((to[axis] - this.#from[axis]) * step) / steps));
    }
    this.#from = to;
    this.#draw();
    this.#later();
  }

  #end() {
    this.#from = null;
  }

  #place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.x) / box.width) * SIDE, ((event.clientY - box.y) / box.height) * SIDE];
  }

  /** A round dab, whose edge is as soft as a pixel. */
  #dab(x, y) {
    const radius = Number($(".width", this.root).value) / 2;
    const wet = $("[data-brush=wet]", this.root).getAttribute("aria-checked") === "true";
    const value = wet ? Number($(".percent", this.root).value) : 0;
    for (let row = Math.max(0, Math.floor(y - radius - 1)); row < Math.min(SIDE, y + radius + 1); row += 1) {
      for (let column = Math.max(0, Math.floor(x - radius - 1)); column < Math.min(SIDE, x + radius + 1); column += 1) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(column + 0.5 - x, row + 0.5 - y)));
        const before = this.#percent[row * SIDE + column];
        const after = Math.round(before + cover * (value - before));
        this.#percent[row * SIDE + column] = wet ? Math.max(before, after) : Math.min(before, after);
      }
    }
  }

  #keep() {
    this.#done.push(this.#percent.slice());
    if (this.#done.length > STROKES) this.#done.shift();
  }

  #change(how) {
    this.#keep();
    how();
    this.#draw();
    this.#enlarge();
  }

  #undo() {
    const before = this.#done.pop();
    if (!before) return;
    this.#percent = before;
    this.#draw();
    this.#enlarge();
  }

  async #upload(file) {
    const found = await this.newest.of(async (signal) => hand("/api/water", checked(file), signal));
    if (!found) return;
    $(".hint", this.root).textContent = `${file.name}${found.done.length ? `: ${found.done.join(", ")}` : ""}`;
    this.take(found.water);
  }

  #draw() {
    const brush = this.canvas.getContext("2d");
    const image = brush.createImageData(SIDE, SIDE);
    this.#percent.forEach((percent, place) => {
      const colour = 3 * Math.round(2.55 * percent);
      image.data.set([...this.palette.subarray(colour, colour + 3), 255], 4 * place);
    });
    brush.putImageData(image, 0, 0);
  }

  #legend() {
    const brush = $(".legend canvas", this.root).getContext("2d");
    const image = brush.createImageData(256, 1);
    for (let place = 0; place < 256; place += 1) {
      image.data.set([...this.palette.subarray(3 * place, 3 * place + 3), 255], 4 * place);
    }
    brush.putImageData(image, 0, 0);
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#enlarge(), REST);
  }

  async #enlarge() {
    clearTimeout(this.#timer);
    const drawn = this.#percent.slice();
    const found = await this.newest.of(async (signal) => {
      const made = this.about.enlargers.length ? await hand(`/api/enlarge/${this.run.value}`, drawn, signal) : null;
      const called = [];
      for (const { run } of this.classifiers) called.push([run, await hand(`/api/classify/${run}?drawn=1`, drawn, signal)]);
      return { made, called };
    });
    if (!found) return;
    if (found.made) {
      show($("#smooth"), found.made.bicubic);
      show($("#enlarged"), found.made.enlarged);
      const [smooth, sharp] = [$("#smooth"), $("#enlarged")].map((image) => $("figcaption", image.parentElement));
      smooth.textContent = `${SIDE * found.made.factor} × ${SIDE * found.made.factor}, by bicubic interpolation`;
      sharp.textContent = `the same, its detail synthetic, by ${told(this.about.runs[this.run.value])}`;
      $("#enlarged").dataset.mean = found.made.mean;
    }
    $(".shapes", this.root).replaceChildren(
      ...found.called.map(([run, called]) => {
        const made = element("div");
        made.append(element("h2", told(this.about.runs[run])), bars(called.classes));
        return made;
      }),
    );
  }
}
