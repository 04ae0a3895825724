// What classifiers call photos.

import { $, checked, chooser, element, files, show } from "./parts.js";
import { hand } from "./server.js";

const SHOWN = 5; // classes of each photo
const KEPT = 24; // photos

export class Classify {
  #turn = Promise.resolve();

  constructor(root, about, { trouble }) {
    Object.assign(this, { root, about, trouble });
    const numbers = about.classifiers.filter((one) => one.takes === "photo").map((one) => one.run);
    this.run = chooser($(".runs", root), about, numbers, () => {});
    this.list = $(".called", root);
    files($("input[type=file]", root), $(".zone", root), (chosen) => {
      for (const file of chosen) this.#turn = this.#turn.then(() => this.#judge(file));
    });
  }

  async #judge(file) {
    const card = element("li");
    card.append(element("h2", file.name), element("p", "…", { className: "hint" }));
    this.list.prepend(card);
    while (this.list.children.length > KEPT) this.list.lastElementChild.remove();
    try {
      const found = await hand(`/api/classify/${this.run.value}`, checked(file));
      const image = element("img", "", { alt: `${file.name}, as the network sees it` });
      show(image, found.seen);
      const words = [this.about.runs[this.run.value].model, ...found.done].join(" · ");
      card.replaceChildren(image, element("h2", file.name), bars(found.classes.slice(0, SHOWN)),
        element("p", words, { className: "hint" }));
      card.dataset.called = found.classes[0][0];
    } catch (refusal) {
      card.classList.add("refused");
      $("p", card).textContent = refusal.message;
    }
  }
}

/** Classes with their probabilities as bars. */
export function bars(classes) {
  const list = element("dl", "", { className: "bars" });
  for (const [name, share] of classes) {
    const value = element("dd", share.toFixed(2));
    const bar = element("i");
    bar.style.width = `${100 * share}%`;
    value.prepend(bar);
    list.append(element("dt", name.replaceAll("_", " ")), value);
  }
  return list;
}
