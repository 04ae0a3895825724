// What a map is drawn with: degrees to pixels, a graticule, a scale, a pin. Its colours are the page's.

const KM = 111.2; // of a degree of latitude
const NICE = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 45, 90];
const KILOMETRES = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/** A canvas cleared to the map's ground, in its own pixels: {brush, colour}. */
export function sheetOf(canvas, width, height) {
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const brush = canvas.getContext("2d");
  brush.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name).trim();
  brush.fillStyle = colour("--map");
  brush.fillRect(0, 0, width, height);
  return { brush, colour };
}

/** Degrees to pixels and back around a middle; `scale`: pixels a degree of latitude, as long both ways there. */
export function frameAround(latitude, longitude, scale, width, height) {
  const narrow = Math.max(0.05, Math.cos((latitude * Math.PI) / 180));
  return {
    scale,
    y: (north) => height / 2 - (north - latitude) * scale,
    at: (east) => width / 2 + (east - longitude) * narrow * scale,
    latitude: (y) => latitude - (y - height / 2) / scale,
    longitude: (x) => longitude + (x - width / 2) / scale / narrow,
    longitudes: [longitude - width / 2 / scale / narrow, longitude + width / 2 / scale / narrow],
    latitudes: [Math.max(-90, latitude - height / 2 / scale), Math.min(90, latitude + height / 2 / scale)],
  };
}

export function drawGraticule(brush, frame, width, height, colour) {
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
    if (x > 44 && x < width - 40) brush.fillText(degrees(eastward(longitude), "E", "W"), x + 3, 11);
  }
}

export function drawScale(brush, frame, width, height, colour) {
  const pixels = frame.scale / KM; // a kilometre
  const kilometres = KILOMETRES.findLast((one) => one * pixels < width / 3) ?? 0.1;
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

export function drawPin(brush, x, y, colour) {
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

/** The same longitude from −180 to 180. */
export function eastward(longitude) {
  return ((((longitude + 180) % 360) + 360) % 360) - 180;
}

/** 54.8° N. */
export function degrees(value, plus, minus) {
  const size = Number(Math.abs(value).toFixed(4));
  return `${size}°${size ? ` ${value < 0 ? minus : plus}` : ""}`;
}
