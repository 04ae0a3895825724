// The map's room: a place or a tile, and what somebody in its middle would see.

import { Atlas } from "./atlas.js";
import { degrees } from "./chart.js";
import { $, Newest, checked, chooser, files, show, told } from "./parts.js";
import { ask, hand, send } from "./server.js";

const AGAIN = 1000; // milliseconds between looks whether the set's places are known
const MAP_SERVICE = 180; // seconds for a map service, which has 50, and for what was clicked before: one place is asked for at a time

export class Landscapes {
  #numbers = null;

  constructor(root, about, { trouble, enter }) {
    Object.assign(this, { root, about, trouble, enter });
    this.newest = new Newest(trouble);
    this.run = chooser($(".runs", root), about, about.encoders.map((one) => one.run), () => {});
    this.atlas = new Atlas($("#atlas"), {
      bounds: about.mosaic?.bounds ?? null,
      taken: (latitude, longitude) => this.#take(latitude, longitude),
      note: (words) => this.#note(words),
    });
    $(".in", root).addEventListener("click", () => this.atlas.zoom(1.8));
    $(".out", root).addEventListener("click", () => this.atlas.zoom(1 / 1.8));
    $(".all", root).addEventListener("click", () => this.atlas.all());
    $("form", root).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#go($(".place", root).value);
    });
    files($("input[type=file]", root), $(".seen", root), ([file]) => this.#upload(file));
    $(".slide", root).addEventListener("click", () => this.enter("sliders").stand(this.run.value, this.#numbers));
    root.dataset.source = about.source ?? about.mosaic?.name ?? about.set?.name ?? "";
    if (!about.source && !about.mosaic && about.set) {
      $(".hint", root).textContent =
        `Click on the map: the nearest tile of the set ${about.set.name}, and what somebody in its middle would see. ` +
        "Started with --source, any point has a tile of its own.";
    }
    if (!about.source && !about.mosaic && !about.set) {
      $(".hint", root).textContent =
        "Upload a satellite tile to see what somebody in its middle would see. " +
        "Started with --source or --data, the map can be clicked.";
    }
    this.#places();
  }

  async #places() {
    if (!this.about.set) return;
    try {
      const found = await ask("/api/places");
      if (!found.ready) {
        this.#note("the set's places are being looked up …");
        setTimeout(() => this.#places(), AGAIN);
        return;
      }
      this.#note(found.told || (found.count ? "" : "no sample of the set says where it lies"));
      this.atlas.load(found);
      this.root.dataset.places = found.count;
    } catch (refusal) {
      this.trouble(refusal.message);
    }
  }

  #note(words) {
    $(".note", this.root).textContent = words;
  }

  #go(words) {
    const [, latitude, longitude] = words.match(/^\s*([-+]?[\d.]+)\s*[,;\s]\s*([-+]?[\d.]+)\s*$/) ?? [];
    if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180)) {
      this.trouble("Latitude and longitude in degrees are wanted, as in 55.12, 37.45");
      return;
    }
    this.atlas.see(Number(latitude), Number(longitude));
    this.#take(Number(latitude), Number(longitude));
  }

  /** What the newest request finds; the room is dimmed until none is under way. */
  async #waited(work) {
    this.root.classList.add("waits");
    const found = await this.newest.of(work);
    if (!this.newest.busy) this.root.classList.remove("waits");
    return found;
  }

  async #take(latitude, longitude) {
    $(".place", this.root).value = `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
    const run = this.run.value;
    const found = await this.#waited((signal) =>
      send(`/api/landscape/${run}/place`, { latitude, longitude }, signal, MAP_SERVICE));
    if (!found) return;
    this.#show(run, found, `${degrees(found.latitude, "N", "S")}, ${degrees(found.longitude, "E", "W")} · ${found.whose}`);
    const { pixels, metres_per_pixel: metres } = this.about.encoders.find((one) => one.run === run);
    this.atlas.put(found.latitude, found.longitude, pixels && metres ? pixels[0] * metres : 0, $("#tile").cloneNode());
    this.#photo(found.photo);
  }

  async #upload(file) {
    $(".place", this.root).value = "";
    const run = this.run.value;
    const found = await this.#waited(async (signal) =>
      hand(`/api/landscape/${run}/tile`, checked(file), signal));
    if (!found) return;
    this.#show(run, found, file.name);
    this.#photo(null);
  }

  #show(run, found, words) {
    this.#numbers = found.numbers;
    show($("#landscape"), found.landscape);
    show($("#tile"), found.tile, "image/jpeg");
    $(".landscape", this.root).hidden = $(".tile", this.root).hidden = false;
    $(".landscape figcaption", this.root).textContent = `what somebody there would see: synthetic, by ${told(this.about.runs[run])}`;
    $(".tile figcaption", this.root).textContent = words;
    $(".slide", this.root).hidden = !this.about.sliders.some((one) => one.run === run);
    $("#landscape").dataset.numbers = found.numbers.join(" ");
    const save = $(".save", this.root);
    save.hidden = false;
    save.href = $("#landscape").src;
    save.download = "synthetic-landscape.png";
    this.root.classList.add("taken");
  }

  #photo(photo) {
    const figure = $(".photo", this.root);
    figure.hidden = !photo;
    if (!photo) return;
    show($("#photo"), photo.picture, "image/jpeg");
    const seen = photo.split === "train" ? "the networks were trained on it" : `held out (${photo.split})`;
    const away = photo.metres >= 1000 ? `${(photo.metres / 1000).toFixed(1)} km` : `${Math.round(photo.metres)} m`;
    const kind = photo.synthetic ? "synthetic photo of the set" : "real photo";
    $("figcaption", figure).textContent = [`${kind}, ${away} from there`, seen, `licence ${photo.licence || "not stated"}`].join(" · ");
  }
}
