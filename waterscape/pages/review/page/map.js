// A small map of all photos' places, drawn from nothing but them: dots, a graticule, a scale.

const MARGIN = 0.12; // of the extent, on each side
const LEAST = 0.6; // degrees of latitude
const KM = 111.2; // of a degree of latitude
const NICE = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45, 90];

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
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!this.#data || !width) return;
    const ratio = devicePixelRatio;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const brush = canvas.getContext("2d");
    brush.scale(ratio, ratio);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    brush.fillStyle = colour("--map");
    brush.fillRect(0, 0, width, height);
    const frame = this.#frame(width, height);
    this.#graticule(brush, frame, width, height, colour);
    brush.fillStyle = colour("--dot");
    const most = Math.max(1, ...this.#data.cells.map((cell) => cell[2]));
    for (const [latitude, longitude, photos] of this.#data.cells) {
      brush.globalAlpha = 0.35 + 0.5 * Math.sqrt(photos / most);
      brush.beginPath();
      brush.arc(frame.x(longitude), frame.y(latitude), 1.8 + 2.2 * Math.sqrt(photos / most), 0, 7);
      brush.fill();
    }
    brush.globalAlpha = 1;
    this.#scale(brush, frame, width, height, colour);
    if (this.#place) this.#pin(brush, frame, colour);
  }

  /** Degrees to pixels: equal scales both ways at the middle latitude. */
  #frame(width, height) {
    const { cells, west } = this.#data;
    const [latitudes, longitudes] = [0, 1].map((axis) => cells.map((cell) => cell[axis]));
    if (!cells.length) return this.#fit(0, 0, 180, 360, width, height, west);
    const [south, north] = [Math.min(...latitudes), Math.max(...latitudes)];
    const [left, right] = [Math.min(...longitudes), Math.max(...longitudes)];
    const [high, wide] = [north - south, right - left].map((extent) => Math.max(extent, LEAST) * (1 + 2 * MARGIN));
    return this.#fit((south + north) / 2, (left + right) / 2, high, wide, width, height, west);
  }

  #fit(latitude, longitude, high, wide, width, height, west) {
    const narrow = Math.max(0.05, Math.cos((latitude * Math.PI) / 180));
    const scale = Math.min(height / high, width / (wide * narrow)); // pixels a degree of latitude
    return {
      scale,
      narrow,
      x: (east) => width / 2 + (west + ((((east - west) % 360) + 360) % 360) - longitude) * narrow * scale,
      y: (north) => height / 2 - (north - latitude) * scale,
      longitudes: [longitude - width / 2 / scale / narrow, longitude + width / 2 / scale / narrow],
      latitudes: [Math.max(-90, latitude - height / 2 / scale), Math.min(90, latitude + height / 2 / scale)],
      at: (east) => width / 2 + (east - longitude) * narrow * scale,
    };
  }

  #graticule(brush, frame, width, height, colour) {
    brush.strokeStyle = colour("--graticule");
    brush.fillStyle = colour("--faint");
    brush.font = "10px system-ui, sans-serif";
    brush.lineWidth = 1;
    const step = (extent) => NICE.find((one) => extent / one <= 5) ?? 90;
    const lines = ([from, to], every) => {
      const first = Math.ceil(from / every);
      return Array.from({ length: Math.max(0, Math.floor(to / every) - first + 1) }, (_, i) => (first + i) * every);
    };
    const line = (...ends) => {
      brush.beginPath();
      brush.moveTo(ends[0], ends[1]);
      brush.lineTo(ends[2], ends[3]);
      brush.stroke();
    };
    for (const latitude of lines(frame.latitudes, step(frame.latitudes[1] - frame.latitudes[0]))) {
      const y = Math.round(frame.y(latitude)) + 0.5;
      line(0, y, width, y);
      if (y > 14 && y < height - 22) brush.fillText(degrees(latitude, "N", "S"), 4, y - 3);
    }
    for (const longitude of lines(frame.longitudes, step(frame.longitudes[1] - frame.longitudes[0]))) {
      const x = Math.round(frame.at(longitude)) + 0.5;
      line(x, 0, x, height);
      const round = ((((longitude + 180) % 360) + 360) % 360) - 180;
      if (x > 44 && x < width - 40) brush.fillText(degrees(round, "E", "W"), x + 3, 11);
    }
  }

  #scale(brush, frame, width, height, colour) {
    const pixels = frame.scale / KM; // a kilometre
    const kilometres = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].findLast(
      (one) => one * pixels < width / 3) ?? 0.1;
    const [x, y, long] = [width - 10 - kilometres * pixels, height - 9, kilometres * pixels];
    brush.fillStyle = brush.strokeStyle = colour("--ink");
    brush.lineWidth = 1.5;
    brush.beginPath();
    brush.moveTo(x, y - 4);
    brush.lineTo(x, y);
    brush.lineTo(x + long, y);
    brush.lineTo(x + long, y - 4);
    brush.stroke();
    brush.textAlign = "right";
    brush.fillText(`${kilometres} km`, x + long, y - 6);
    brush.textAlign = "left";
  }

  #pin(brush, frame, colour) {
    const [x, y] = [frame.x(this.#place[1]), frame.y(this.#place[0])];
    for (const [radius, paint, thick] of [[8, colour("--map"), 5], [8, colour("--pin"), 2.5]]) {
      brush.strokeStyle = paint;
      brush.lineWidth = thick;
      brush.beginPath();
      brush.arc(x, y, radius, 0, 7);
      brush.stroke();
    }
    brush.fillStyle = colour("--pin");
    brush.beginPath();
    brush.arc(x, y, 2.5, 0, 7);
    brush.fill();
  }
}

/** 54.8° N. */
export function degrees(value, plus, minus) {
  const size = Number(Math.abs(value).toFixed(4));
  return `${size}°${size ? ` ${value < 0 ? minus : plus}` : ""}`;
}
