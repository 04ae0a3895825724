// New pictures by sliders, and beneath each slider what lies along it.

import { $, Newest, chooser, element, radio, show, told } from "./parts.js";
import { send } from "./server.js";

const REACH = 3; // standard deviations to either side
const REST = 250; // milliseconds that sliders must rest before the pictures along them are asked for
const FRAMES = 40; // from sample to sample, where it plays

export class Sliders {
  #sample = 0; // null: the middle
  #places = null; // on the sliders; null: not known yet
  #timer = 0;
  #round = 0; // of pictures along sliders
  #playing = 0;

  constructor(root, about, { trouble, enter }) {
    Object.assign(this, { root, about, trouble, enter });
    this.newest = new Newest(trouble);
    this.image = $("#slid");
    this.axes = $(".axes", root);
    this.number = $(".number input", root);
    this.run = chooser($(".runs", root), about, about.sliders.map((one) => one.run), () => this.#began());
    radio($(".classes", root), () => this.#moved());
    const click = (name, done) => $(name, root).addEventListener("click", done);
    click(".another", () => this.#stand(Math.floor(Math.random() * 100_000)));
    click(".middle", () => this.#stand(null));
    click(".play", () => (this.#playing ? this.#pause() : this.#play()));
    click(".draw", () => this.enter("water").take(this.water));
    this.number.addEventListener("change", () => {
      if (this.number.value && this.number.checkValidity()) this.#stand(Number(this.number.value));
    });
    this.#began();
  }

  /** Stand at these numbers of a run, as its encoder found them. */
  stand(run, numbers) {
    this.run.value = run;
    this.#lay();
    this.#sample = null;
    this.#places = numbers.map((one) => Math.max(-10, Math.min(10, one)));
    this.#moved();
  }

  get #now() {
    return this.about.sliders.find((one) => one.run === this.run.value);
  }

  get #kind() {
    const kinds = [...$(".classes", this.root).children];
    return Math.max(0, kinds.findIndex((one) => one.getAttribute("aria-checked") === "true"));
  }

  #began() {
    this.#lay();
    this.#stand(0);
  }

  /** The sliders and classes of the chosen run. */
  #lay() {
    this.#pause();
    this.#round += 1;
    this.#places = null;
    const { names, numbers, classes, run } = this.#now;
    $(".classes", this.root).replaceChildren(
      ...classes.map((name, place) => {
        const button = element("button", name.replaceAll("_", " "));
        button.setAttribute("role", "radio");
        button.setAttribute("aria-checked", place === 0);
        button.tabIndex = place ? -1 : 0;
        return button;
      }),
    );
    $(".classes", this.root).hidden = !classes.length;
    $(".hint", this.root).textContent = numbers > names.length
      ? `Of ${numbers} numbers: the ${names.length} directions in which the pictures differ most. The rest is the sample's.`
      : `The generator's ${numbers} numbers, all of them, in standard deviations.`;
    $("figcaption", this.root).textContent = `synthetic · ${told(this.about.runs[run])}`;
    this.axes.replaceChildren(...names.map((name, axis) => this.#slider(name, axis)));
  }

  #slider(name, axis) {
    const row = element("li");
    const label = element("label", name);
    const value = element("output", "0.00");
    const range = element("input", "", { type: "range", min: -REACH, max: REACH, step: 0.01, value: 0 });
    range.setAttribute("aria-label", name);
    range.addEventListener("input", () => {
      this.#pause();
      this.#move(axis, Number(range.value));
    });
    const strip = element("img", "", { alt: `Pictures along ${name}`, className: "along" });
    strip.addEventListener("click", (event) => {
      const share = (event.clientX - strip.getBoundingClientRect().x) / strip.clientWidth;
      const step = Math.min(this.about.steps - 1, Math.floor(share * this.about.steps));
      this.#pause();
      this.#move(axis, -REACH + (2 * REACH * step) / (this.about.steps - 1));
    });
    row.append(label, value, range, strip);
    return row;
  }

  /** Stand where a sample does, with all that is not on the sliders. */
  async #stand(sample) {
    this.#pause();
    this.#sample = sample;
    const found = await this.newest.of((signal) =>
      send("/api/slide", { run: this.run.value, sample, kind: this.#kind }, signal));
    if (!found) return;
    this.#places = found.places;
    this.#drawn(found);
    this.#later();
  }

  #move(axis, place) {
    if (!this.#places) return;
    this.#places[axis] = place;
    this.#moved();
  }

  async #moved() {
    if (!this.#places) return this.#stand(this.#sample);
    this.#set();
    this.#later();
    const found = await this.newest.of((signal) => send("/api/slide", this.#asked, signal));
    if (found) this.#drawn(found);
  }

  get #asked() {
    return { run: this.run.value, sample: this.#sample, kind: this.#kind, places: this.#places };
  }

  #drawn(found) {
    show(this.image, found.picture);
    this.image.classList.toggle("water", Boolean(found.water)); // in its own pixels
    this.image.dataset.places = JSON.stringify(found.places);
    const save = $(".save", this.root);
    save.href = this.image.src;
    save.download = `synthetic-${this.about.runs[this.run.value].name}-${this.#sample ?? "middle"}.png`;
    this.water = found.water;
    $(".draw", this.root).hidden = !found.water || !this.about.enlargers.length;
    this.#set();
  }

  #set() {
    this.number.value = this.#sample ?? "";
    [...this.axes.children].forEach((row, axis) => {
      const place = this.#places?.[axis] ?? 0;
      $("input", row).value = place;
      $("output", row).textContent = place.toFixed(2);
    });
  }

  #later() {
    clearTimeout(this.#timer);
    this.#round += 1;
    const round = this.#round;
    this.#timer = setTimeout(() => this.#along(round), REST);
  }

  async #along(round) {
    if (this.#playing || !this.#places) return;
    for (const [axis, row] of [...this.axes.children].entries()) {
      try {
        const { strip } = await send("/api/along", { ...this.#asked, axis });
        if (round !== this.#round) return;
        show($(".along", row), strip);
        row.dataset.round = round;
      } catch (refusal) {
        if (round === this.#round) this.trouble(refusal.message);
        return;
      }
    }
  }

  /** From here to a random place, then on to another: slow at the ends. */
  async #play() {
    if (!this.#places) return;
    const playing = (this.#playing += 1);
    $(".play", this.root).setAttribute("aria-pressed", true);
    $(".play", this.root).textContent = "Pause";
    while (this.#playing === playing) {
      const from = [...this.#places];
      const to = from.map(() => Math.max(-REACH, Math.min(REACH, normal())));
      for (let frame = 1; frame <= FRAMES && this.#playing === playing; frame += 1) {
        const share = 0.5 - 0.5 * Math.cos((Math.PI * frame) / FRAMES);
        this.#places = from.map((one, axis) => Number((one + share * (to[axis] - one)).toFixed(4)));
        const [found] = await Promise.all([
          this.newest.of((signal) => send("/api/slide", this.#asked, signal)),
          new Promise((done) => setTimeout(done, 50)),
        ]);
        if (this.#playing !== playing) return;
        if (!found) return this.#pause();
        this.#drawn(found);
      }
    }
  }

  #pause() {
    if (!this.#playing) return;
    this.#playing = 0;
    $(".play", this.root).setAttribute("aria-pressed", false);
    $(".play", this.root).textContent = "Play";
    this.#later();
  }
}

/** A standard normal number (Box and Muller 1958). */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
