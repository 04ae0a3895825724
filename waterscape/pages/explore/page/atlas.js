// A map that is dragged, zoomed and clicked: the mosaic, the places of a set, and the tiles that were taken.

import { drawGraticule, drawPin, drawScale, eastward, frameAround, sheetOf } from "./chart.js";
import { picture } from "./server.js";

const METRES = 111_320; // of a degree of latitude
const MARGIN = 0.06; // of the extent, on each side
const REST = 150; // milliseconds without moving before the mosaic is asked for
const [LEAST, MOST] = [0.8, 4_000_000]; // pixels a degree of latitude
const STILL = 5; // CSS pixels within which a press is a click
const LARGEST = 1600; // pixels a side of what is asked for

export class Atlas {
  #middle = [0, 0]; // latitude, longitude
  #scale = 2;
  #ground = null; // {image, box}
  #asked = null;
  #timer = 0;
  #cells = [];
  #taken = []; // {latitude, longitude, metres, image}
  #fitted = false;
  #pressed = new Map(); // pointers: id → [x, y]
  #moved = false;

  /** bounds: of the mosaic, or null; taken(latitude, longitude): where somebody clicked; note(words): of the mosaic. */
  constructor(canvas, { bounds, taken, note }) {
    Object.assign(this, { canvas, bounds, taken, note });
    new ResizeObserver(() => (this.#fitted ? this.draw() : this.all())).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", (event) => this.#pressed.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(2 ** (-event.deltaY / (event.deltaMode ? 8 : 240)), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const kind of ["focus", "blur"]) canvas.addEventListener(kind, () => this.draw());
  }

  /** Places of a set, {west, cells: [[latitude, longitude, photos]]}. */
  load({ cells }) {
    this.#cells = cells ?? [];
    if (this.bounds) this.draw();
    else this.all();
  }

  /** All of the mosaic, else of the set, else the world. */
  all() {
    if (!this.canvas.clientWidth) return;
    const [west, south, east, north] = this.bounds ?? this.#extent();
    const latitude = (south + north) / 2;
    const narrow = Math.max(0.05, Math.cos((latitude * Math.PI) / 180));
    const [high, wide] = [(north - south) * (1 + 2 * MARGIN), (east - west) * narrow * (1 + 2 * MARGIN)];
    this.#scale = Math.min(this.canvas.clientHeight / high, this.canvas.clientWidth / wide);
    this.#fitted = true;
    this.#go([latitude, (west + east) / 2]);
  }

  /** A tile that was taken, to be seen where it lies, and marked. */
  put(latitude, longitude, metres, image) {
    this.#taken.push({ latitude, longitude, metres, image });
    if (image && !image.complete) image.addEventListener("load", () => this.draw());
    this.draw();
  }

  /** Where the canvas's x and y lie: latitude, longitude. */
  at(x, y) {
    const frame = this.#frame();
    return [Math.max(-90, Math.min(90, frame.latitude(y))), eastward(frame.longitude(x))];
  }

  /** Where a place is on the canvas. */
  pixel(latitude, longitude) {
    const frame = this.#frame();
    return [frame.at(this.#near(longitude)), frame.y(latitude)];
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const before = this.#frame();
    const [latitude, longitude] = [before.latitude(y), before.longitude(x)];
    this.#scale = Math.max(LEAST, Math.min(MOST, this.#scale * factor));
    const after = this.#frame();
    this.#go([
      this.#middle[0] + latitude - after.latitude(y),
      this.#middle[1] + longitude - after.longitude(x),
    ]);
  }

  /** Bring a place into the middle, unless it is seen already. */
  see(latitude, longitude) {
    const [x, y] = this.pixel(latitude, longitude);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (x < 0 || y < 0 || x > width || y > height) this.#go([latitude, longitude]);
  }

  draw() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    const { brush, colour } = sheetOf(this.canvas, width, height);
    const frame = this.#frame();
    drawGraticule(brush, frame, width, height, colour);
    if (this.#ground) {
      const [west, south, east, north] = this.#ground.box;
      const [left, top] = [frame.at(west), frame.y(north)];
      brush.drawImage(this.#ground.image, left, top, frame.at(east) - left, frame.y(south) - top);
    }
    const most = Math.max(1, ...this.#cells.map((cell) => cell[2]));
    for (const [latitude, longitude, photos] of this.#cells) {
      const [x, y] = [frame.at(this.#near(longitude)), frame.y(latitude)];
      brush.beginPath();
      brush.arc(x, y, 2.5 + 2 * Math.sqrt(photos / most), 0, 7);
      brush.fillStyle = colour("--dot");
      brush.fill();
      brush.lineWidth = 1;
      brush.strokeStyle = colour("--map");
      brush.stroke();
    }
    for (const tile of this.#taken) this.#footprint(brush, frame, tile, colour);
    drawScale(brush, frame, width, height, colour);
    const last = this.#taken.at(-1);
    if (last) drawPin(brush, frame.at(this.#near(last.longitude)), frame.y(last.latitude), colour);
    if (document.activeElement === this.canvas && this.canvas.matches(":focus-visible")) {
      brush.strokeStyle = colour("--pin");
      brush.lineWidth = 2;
      brush.strokeRect(width / 2 - 6, height / 2 - 6, 12, 12);
    }
  }

  #footprint(brush, frame, { latitude, longitude, metres, image }, colour) {
    if (!metres) return;
    const side = (metres / METRES) * frame.scale;
    const [x, y] = [frame.at(this.#near(longitude)) - side / 2, frame.y(latitude) - side / 2];
    if (side >= 12 && image?.complete && image.naturalWidth) brush.drawImage(image, x, y, side, side);
    brush.lineWidth = 1.5;
    brush.strokeStyle = colour("--pin");
    if (side >= 6) brush.strokeRect(x, y, side, side);
  }

  #frame() {
    return frameAround(...this.#middle, this.#scale, this.canvas.clientWidth, this.canvas.clientHeight);
  }

  /** A longitude counted so that it is nearest to the middle's. */
  #near(longitude) {
    return this.#middle[1] + eastward(longitude - this.#middle[1]);
  }

  #extent() {
    if (!this.#cells.length) return [-180, -75, 180, 80];
    const [latitudes, longitudes] = [0, 1].map((axis) => this.#cells.map((cell) => cell[axis]));
    const [south, north, west, east] = [
      Math.min(...latitudes), Math.max(...latitudes), Math.min(...longitudes), Math.max(...longitudes)];
    const more = Math.max(0, 0.05 - Math.max(north - south, east - west)) / 2;
    return [west - more, Math.max(-90, south - more), east + more, Math.min(90, north + more)];
  }

  #go([latitude, longitude]) {
    this.#middle = [Math.max(-90, Math.min(90, latitude)), eastward(longitude)];
    this.draw();
    clearTimeout(this.#timer);
    if (this.bounds) this.#timer = setTimeout(() => this.#look(), REST);
  }

  /** The mosaic as it is seen now. */
  async #look() {
    const frame = this.#frame();
    const [west, east] = frame.longitudes;
    const [south, north] = frame.latitudes;
    const sharp = Math.min(devicePixelRatio, LARGEST / Math.max(this.canvas.clientWidth, this.canvas.clientHeight));
    const [width, height] = [(east - west) * Math.max(0.05, Math.cos((this.#middle[0] * Math.PI) / 180)), north - south].map(
      (extent) => Math.max(1, Math.round(extent * frame.scale * sharp)));
    this.#asked?.abort();
    const controller = (this.#asked = new AbortController());
    try {
      const words = new URLSearchParams({ west, south, east, north, width, height });
      const image = await createImageBitmap(await picture(`/api/ground?${words}`, controller.signal));
      if (controller.signal.aborted) return;
      this.#ground = { image, box: [west, south, east, north] };
      this.note("");
      this.canvas.dataset.looked = `${Number(this.canvas.dataset.looked ?? 0) + 1}`;
    } catch (error) {
      if (controller.signal.aborted) return;
      this.#ground = null;
      this.note(error.message);
    }
    this.draw();
  }

  #press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    if (!this.#pressed.size) this.#moved = false;
    this.#pressed.set(event.pointerId, [event.offsetX, event.offsetY, event.offsetX, event.offsetY]);
  }

  #move(event) {
    const pointer = this.#pressed.get(event.pointerId);
    if (!pointer) return;
    const [x, y, firstX, firstY] = pointer;
    const [toX, toY] = [event.offsetX, event.offsetY];
    const others = [...this.#pressed].filter(([id]) => id !== event.pointerId).map(([, one]) => one);
    if (!this.#moved && !others.length && Math.hypot(toX - firstX, toY - firstY) < STILL) return;
    this.#moved = true;
    this.#pressed.set(event.pointerId, [toX, toY, firstX, firstY]);
    if (others.length) {
      const [otherX, otherY] = others[0];
      const factor = Math.hypot(toX - otherX, toY - otherY) / Math.max(1, Math.hypot(x - otherX, y - otherY));
      this.zoom(factor, otherX, otherY);
      return;
    }
    const frame = this.#frame();
    this.#go([
      this.#middle[0] + frame.latitude(y) - frame.latitude(toY),
      this.#middle[1] + frame.longitude(x) - frame.longitude(toX),
    ]);
  }

  #release(event) {
    const pointer = this.#pressed.get(event.pointerId);
    this.#pressed.delete(event.pointerId);
    if (pointer && !this.#moved && !this.#pressed.size) this.taken(...this.at(pointer[2], pointer[3]));
  }

  #key(event) {
    const step = 60 / this.#scale;
    const moves = { ArrowUp: [step, 0], ArrowDown: [-step, 0], ArrowLeft: [0, -step], ArrowRight: [0, step] };
    if (moves[event.key]) this.#go(this.#middle.map((one, axis) => one + moves[event.key][axis]));
    else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "Enter") this.taken(...this.#middle);
    else return;
    event.preventDefault();
  }
}
