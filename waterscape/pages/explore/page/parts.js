// Small things that all rooms use: elements, made pictures, runs to choose from, files to drop, the newest request.

const MOST_BYTES = 1 << 25; // as the server takes

export const $ = (query, within = document) => within.querySelector(query);

export function element(kind, words = "", properties = {}) {
  const made = document.createElement(kind);
  made.textContent = words;
  return Object.assign(made, properties);
}

/** Bytes of base64. */
export function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Show a picture (base64) in an <img>; its own bytes can be saved, with what they say of themselves. */
export function show(image, text, type = "image/png") {
  const old = image.src;
  image.src = URL.createObjectURL(new Blob([bytes(text)], { type }));
  if (old.startsWith("blob:")) image.addEventListener("load", () => URL.revokeObjectURL(old), { once: true });
}

/** What a run is called under a picture. */
export function told(run) {
  return `${run.name} · ${run.model} · ${run.images.toLocaleString("en").replaceAll(",", " ")} images`;
}

/** A chooser of runs; hidden where there is but one. Returns the function that says which is chosen. */
export function chooser(label, about, numbers, chosen) {
  const select = $("select", label);
  select.replaceChildren(...numbers.map((number) => element("option", told(about.runs[number]), { value: number })));
  label.hidden = numbers.length < 2;
  select.addEventListener("change", () => chosen(Number(select.value)));
  return { get value() { return Number(select.value); }, set value(number) { select.value = number; } };
}

/** Buttons of which one is pressed, moved through by arrows too. */
export function radio(group, chosen) {
  const choose = (button) => {
    for (const one of group.children) {
      one.setAttribute("aria-checked", one === button);
      one.tabIndex = one === button ? 0 : -1;
    }
  };
  group.addEventListener("click", (event) => {
    const button = event.target.closest("[role=radio]");
    if (!button) return;
    choose(button);
    chosen(button);
  });
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...group.children];
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    next.click();
  });
  if (group.firstElementChild) choose($("[aria-checked=true]", group) ?? group.firstElementChild);
}

/** Files chosen in an input or dropped onto an element. */
export function files(input, place, taken) {
  input.addEventListener("change", () => {
    taken([...input.files]);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    place.addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
  }
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (event.dataTransfer.files.length) taken([...event.dataTransfer.files]);
  });
}

/** Refuse here what the server would refuse after it was sent. */
export function checked(file) {
  if (file.size > MOST_BYTES) throw new Error(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB: 33 are taken at most`);
  if (!file.size) throw new Error(`${file.name} is empty`);
  return file;
}

/** Only the newest request counts: a newer one gives up the one under way. */
export class Newest {
  #under = null;

  constructor(trouble) {
    this.trouble = trouble;
  }

  /** What `work(signal)` returns, or null where it was given up or refused. */
  async of(work) {
    this.#under?.abort();
    const controller = new AbortController();
    this.#under = controller;
    try {
      const found = await work(controller.signal);
      if (controller.signal.aborted) return null;
      this.trouble("");
      return found;
    } catch (error) {
      if (!controller.signal.aborted) this.trouble(error.message);
      return null;
    } finally {
      if (this.#under === controller) this.#under = null;
    }
  }

  get busy() {
    return this.#under !== null;
  }
}
