// The page: a room for each thing that the runs can do.

import { Classify } from "./classify.js";
import { Landscapes } from "./landscapes.js";
import { $ } from "./parts.js";
import { ask } from "./server.js";
import { Sliders } from "./sliders.js";
import { Water } from "./water.js";

const AGAIN = 3000; // milliseconds, where the server did not answer

function trouble(words) {
  $("#trouble").textContent = words;
  $("#trouble").hidden = !words;
}

function start(about) {
  const rooms = {};
  const there = {
    sliders: about.sliders.length > 0,
    water: about.enlargers.length > 0 || about.classifiers.some((one) => one.takes === "water"),
    map: about.encoders.length > 0,
    classify: about.classifiers.some((one) => one.takes === "photo"),
  };
  const made = { sliders: Sliders, water: Water, map: Landscapes, classify: Classify };
  const enter = (name) => {
    for (const button of document.querySelectorAll("#rooms button")) {
      button.setAttribute("aria-pressed", button.dataset.room === name);
    }
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== name;
    trouble("");
    rooms[name] ??= new made[name]($(`#${name}`), about, { trouble, enter: (other) => (go(other), rooms[other]) });
    rooms[name].entered?.();
  };
  const go = (name) => {
    if (location.hash.slice(1) !== name) history.replaceState(null, "", `#${name}`);
    enter(name);
  };
  for (const button of document.querySelectorAll("#rooms button")) {
    button.hidden = !there[button.dataset.room];
    button.addEventListener("click", () => go(button.dataset.room));
  }
  const wanted = location.hash.slice(1);
  go(there[wanted] ? wanted : Object.keys(there).find((name) => there[name]));
}

async function load() {
  try {
    start(await ask("/api/about"));
  } catch (refusal) {
    trouble(refusal.message);
    if (refusal.status === 0) setTimeout(load, AGAIN);
  }
}

load();
