// What is known of the focused photo: its satellite tile, its place, what the filters said.

import { degrees } from "./chart.js";
import { PlaceMap } from "./map.js";
import { Pictures } from "./pictures.js";
import { ask } from "./server.js";

const PAUSE = 60; // milliseconds that the focus must rest, so that holding a key asks nothing
const SIDE = 640;
const AGAIN = 3000; // milliseconds, where the server did not answer
const BAR = 90; // CSS pixels of the tile's scale, at most
const LENGTHS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000]; // metres

export class Panel {
  #key = null;
  #timer = 0;
  #known = new Map(); // details of photos, in the order of use
  #source = 0;

  constructor(element) {
    const part = (query) => element.querySelector(query);
    this.element = element;
    this.tile = part("#tile");
    this.image = part("#tile img");
    this.map = new PlaceMap(part("#map canvas"));
    this.mapWords = part("#map figcaption");
    this.said = part("#said tbody");
    this.facts = part("#facts");
    this.tiles = new Pictures({
      path: (name) => {
        const [key, source] = JSON.parse(name);
        return `/tiles/${encodeURIComponent(key)}/${SIDE}?source=${encodeURIComponent(source)}`;
      },
      arrived: () => this.#showTile(),
      most: 40,
    });
    this.image.addEventListener("load", () => this.#scale());
    new ResizeObserver(() => this.#scale()).observe(this.tile);
  }

  /** Another photo has the focus; `next`: keys of those that probably follow. */
  focus(key, next) {
    if (this.#key !== key) this.#source = 0;
    this.#key = key;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(key, next), this.#known.has(key) ? 0 : PAUSE);
  }

  /** What was known may be otherwise by now: the filters have been run, the tiles fetched. */
  forget() {
    this.#known.clear();
    this.tiles.forgetErrors();
  }

  /** Show the tile of another source, where there are several. */
  turn() {
    const tiles = this.#known.get(this.#key)?.tiles ?? [];
    if (tiles.length > 1) this.#source = (this.#source + 1) % tiles.length;
    this.#showTile();
  }

  async #load(key, next) {
    try {
      const photo = await this.#details(key);
      if (this.#key !== key) return;
      this.#show(photo);
      const following = await Promise.all(next.map((one) => this.#details(one).catch(() => null)));
      if (this.#key !== key) return;
      const names = [photo, ...following.filter(Boolean)].flatMap((one, place) => {
        const tile = one.tiles[place ? 0 : this.#source];
        return tile ? [JSON.stringify([one.key, tile.source])] : [];
      });
      this.tiles.want(names.map((name) => [name, SIDE]));
    } catch (refusal) {
      if (this.#key !== key) return;
      this.#show(null);
      clearTimeout(this.#timer);
      if (refusal.status !== 404) this.#timer = setTimeout(() => this.#load(key, next), AGAIN);
    }
  }

  async #details(key) {
    let found = this.#known.get(key);
    if (!found) {
      found = await ask(`/api/photos/${encodeURIComponent(key)}`);
      if (this.#known.size > 500) this.#known.delete(this.#known.keys().next().value);
      this.#known.set(key, found);
    }
    return found;
  }

  #show(photo) {
    this.element.classList.toggle("unknown", !photo);
    this.map.mark(photo?.latitude ?? null, photo?.longitude ?? null);
    this.mapWords.textContent = photo ? place(photo) : "";
    this.said.replaceChildren(...(photo?.decisions ?? []).map(row));
    if (photo && !photo.decisions.length) this.said.replaceChildren(empty("no filter was run"));
    const facts = photo ? {
      Date: photo.taken === null ? "not known" : new Date(photo.taken * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC",
      Size: photo.width && photo.height ? `${photo.width} × ${photo.height} pixels` : "",
      Rights: photo.licence,
      Photo: photo.key,
    } : {};
    this.facts.replaceChildren(...Object.entries(facts).filter(([, words]) => words).flatMap(([name, words]) => [
      element("dt", name), element("dd", words)]));
    this.#showTile();
  }

  get #tileNow() {
    return this.#known.get(this.#key)?.tiles[this.#source];
  }

  #showTile() {
    const tile = this.#tileNow;
    const name = tile && JSON.stringify([this.#key, tile.source]);
    if (name) this.tiles.want([[name, SIDE]]);
    const found = name && this.tiles.get(name, SIDE);
    this.tile.classList.toggle("none", !found?.url);
    if (found?.url) this.image.src = found.url;
    else this.image.removeAttribute("src");
    this.tile.querySelector("em").textContent = !tile ? "no satellite tile" : found?.error ?? "";
    const count = this.#known.get(this.#key)?.tiles.length ?? 0;
    const resolution = tile?.metres_per_pixel ? ` · ${Number(tile.metres_per_pixel.toPrecision(3))} m a pixel` : "";
    const more = count > 1 ? ` · T: ${this.#source + 1} of ${count}` : "";
    this.tile.querySelector("figcaption").textContent = tile ? `${tile.source}${resolution}${more}` : "";
    this.#scale();
  }

  /** A bar of a round number of metres. */
  #scale() {
    const tile = this.#tileNow;
    const bar = this.tile.querySelector(".scale");
    const { clientWidth, clientHeight, naturalWidth, naturalHeight } = this.image;
    const shown = Math.min(clientWidth, (clientHeight * naturalWidth) / naturalHeight); // it is fitted into its box
    const metres = tile?.metres_per_pixel && tile.width ? (tile.metres_per_pixel * tile.width) / shown : 0;
    const long = LENGTHS.findLast((one) => one / metres <= BAR);
    bar.hidden = !metres || !long || !shown || !this.image.src;
    if (bar.hidden) return;
    bar.style.width = `${long / metres}px`;
    bar.textContent = long >= 1000 ? `${long / 1000} km` : `${long} m`;
  }
}

function row({ by, verdict, score, reason }) {
  const line = element("tr");
  line.className = verdict;
  const mark = element("td", verdict === "keep" ? "✓" : "✕");
  mark.setAttribute("aria-label", verdict);
  const number = element("td", score === null ? "" : String(Number(score.toPrecision(3))));
  number.className = "score";
  if (score !== null && score >= 0 && score <= 1) {
    const bar = element("i");
    bar.style.width = `${score * 100}%`;
    number.append(bar);
  }
  line.append(mark, element("th", by), element("td", reason), number);
  return line;
}

function empty(words) {
  const line = element("tr");
  line.append(element("td", words));
  line.className = "nothing";
  return line;
}

function place({ latitude, longitude, exact }) {
  if (latitude === null || longitude === null) return "place not known";
  return `${degrees(latitude, "N", "S")}, ${degrees(longitude, "E", "W")}${exact ? "" : " (rounded to 0.1°)"}`;
}

function element(kind, words = "") {
  const made = document.createElement(kind);
  made.textContent = words;
  return made;
}
