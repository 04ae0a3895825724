// A small map of all photos' places, drawn from nothing but them: dots, a graticule, a scale.

import { drawGraticule, drawPin, drawScale, frameAround, sheetOf } from "./chart.js";

const MARGIN = 0.12; // of the extent, on each side
const LEAST = 0.6; // degrees of latitude

export class PlaceMap {
  #data = null;
  #place = null;

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** {west, step, cells: [[latitude, longitude, photos]]} of the server. */
  load(data) {
    this.#data = data;
    this.draw();
  }

  /** Mark a place, or none. */
  mark(latitude, longitude) {
    this.#place = latitude === null || longitude === null ? null : [latitude, longitude];
    this.draw();
  }

  draw() {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!this.#data || !width) return;
    const { brush, colour } = sheetOf(this.canvas, width, height);
    const { west, cells } = this.#data;
    const frame = this.#frame(width, height);
    const x = (longitude) => frame.at(west + ((((longitude - west) % 360) + 360) % 360));
    drawGraticule(brush, frame, width, height, colour);
    brush.fillStyle = colour("--dot");
    const most = Math.max(1, ...cells.map((cell) => cell[2]));
    for (const [latitude, longitude, photos] of cells) {
      brush.globalAlpha = 0.35 + 0.5 * Math.sqrt(photos / most);
      brush.beginPath();
      brush.arc(x(longitude), frame.y(latitude), 1.8 + 2.2 * Math.sqrt(photos / most), 0, 7);
      brush.fill();
    }
    brush.globalAlpha = 1;
    drawScale(brush, frame, width, height, colour);
    if (this.#place) drawPin(brush, x(this.#place[1]), frame.y(this.#place[0]), colour);
  }

  /** All places, or the whole world where there are none. */
  #frame(width, height) {
    const { cells } = this.#data;
    const [latitudes, longitudes] = [0, 1].map((axis) => cells.map((cell) => cell[axis]));
    const [south, north] = cells.length ? [Math.min(...latitudes), Math.max(...latitudes)] : [-90, 90];
    const [left, right] = cells.length ? [Math.min(...longitudes), Math.max(...longitudes)] : [-180, 180];
    const around = cells.length ? 1 + 2 * MARGIN : 1;
    const [high, wide] = [north - south, right - left].map((extent) => Math.max(extent, LEAST) * around);
    const latitude = (south + north) / 2;
    const narrow = Math.max(0.05, Math.cos((latitude * Math.PI) / 180));
    const scale = Math.min(height / high, width / (wide * narrow));
    return frameAround(latitude, (left + right) / 2, scale, width, height);
  }
}
