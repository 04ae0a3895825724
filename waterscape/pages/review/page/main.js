// The page: photos of a ledger in a grid, decided by keys. What it shows as decided, the server has on its disk.

import { Grid } from "./grid.js";
import { listen, signOf, table } from "./keys.js";
import { Outbox } from "./outbox.js";
import { perMinute, told } from "./pace.js";
import { Panel } from "./panel.js";
import { ask } from "./server.js";
import { Zoom } from "./zoom.js";

const REASONS = [
  "people", "building or street", "vehicle", "indoors", "blurred or dark", "drawing, text or collage",
  "close-up, no landscape", "animal", "wrong place or season",
];
const PULSE = 4000; // milliseconds between looks whether the server is there
const PLACE = "waterscape-review"; // where the browser keeps what one was looking at
const AHEAD = 3; // photos of which everything is had before they have the focus

const EVERYTHING = { state: "open", filters: "any", by: "", reason: "" };

const $ = (query) => document.querySelector(query);
const state = {
  ledger: "",
  choice: EVERYTHING,
  index: new Map(), // key → place in the grid
  flags: {},
  standing: new Map(), // key → {verdict, reason, at}, as the server said last
  gone: new Set(),
  heard: new Set(), // of which the server said something since the last list was asked for
  refused: new Map(), // photo → what the server said of a decision that it never takes
  done: [], // keys in the order of decisions, for undo
  times: [], // of decisions, seconds since 1970
  progress: { all: 0, kept: 0, rejected: 0 },
};

const grid = new Grid({
  scroller: $("#grid"),
  sheet: $("#sheet"),
  fill: fillCell,
  open: (index) => (index === grid.focus ? zoom.open() : focus(index)),
});
const panel = new Panel($("#panel"));
const zoom = new Zoom($("#zoom"), $("#grid"));
const outbox = new Outbox({
  standing: (photo) => state.standing.get(photo),
  said: heard,
  refused,
  trouble: (refusal) => tellTrouble(refusal),
});

// deciding

function decide(verdict, reason = "") {
  const photo = grid.keys[grid.focus];
  if (!photo || state.gone.has(photo)) return;
  const now = outbox.of(photo) ?? state.standing.get(photo);
  state.refused.delete(photo);
  outbox.push({ photo, verdict, reason }); // though nothing seems to change: somebody else may have changed it
  if (now?.verdict !== verdict || now?.reason !== reason) state.done.push(photo);
  say(`${verdict === "keep" ? "keep" : "reject"}${reason ? `: ${reason}` : ""}`);
  refresh(photo);
  if (grid.focus < grid.keys.length - 1) focus(grid.focus + 1);
  else show();
}

/** Take back the last decision that is still there to be taken back. */
function undo() {
  while (state.done.length && !isDecided(state.done.at(-1))) state.done.pop();
  takeBack(state.done.at(-1));
}

function isDecided(photo) {
  return !state.gone.has(photo) && (Boolean(outbox.of(photo)) || state.standing.has(photo));
}

/** Take back the last decision of a photo. */
function takeBack(photo) {
  if (!photo || !isDecided(photo)) {
    say("nothing to undo");
    return;
  }
  const place = state.done.lastIndexOf(photo);
  if (place >= 0) state.done.splice(place, 1);
  outbox.push({ photo, verdict: null });
  say("undone");
  if (state.index.has(photo)) focus(state.index.get(photo));
  refresh(photo);
}

/** The server has it. */
function heard({ standing, progress }) {
  for (const { photo, verdict, reason, at, gone } of standing) {
    state.heard.add(photo);
    if (gone) state.gone.add(photo);
    const before = state.standing.get(photo)?.at ?? 0;
    if (verdict) state.standing.set(photo, { verdict, reason, at });
    else state.standing.delete(photo);
    if (verdict && at > before) {
      state.times.push(at);
      if (!outbox.of(photo) && !state.done.includes(photo)) state.done.push(photo);
    }
    if (!state.index.has(photo) && !gone && !verdict) load(photo);
    refresh(photo);
  }
  state.times = state.times.slice(-500);
  if (progress) state.progress = progress;
  showProgress();
}

/** The server will never have it: told until one looks at it or decides it anew. The focus stays, as keys are being
 *  pressed meanwhile that are meant for other photos. */
function refused({ photo }, words) {
  const place = state.done.lastIndexOf(photo);
  if (place >= 0) state.done.splice(place, 1);
  state.refused.set(photo, words);
  refresh(photo);
  tellTrouble(null);
}

function showRefused() {
  const [photo] = state.refused.keys();
  if (!photo) return;
  state.refused.delete(photo);
  tellTrouble(null);
  toPhotos();
  if (state.index.has(photo)) focus(state.index.get(photo));
  else choose({ ...EVERYTHING, state: "all" }, photo);
}

function refresh(photo) {
  if (state.index.has(photo)) grid.refresh(state.index.get(photo));
  if (photo === grid.keys[grid.focus]) show();
}

// showing

function status(photo) {
  const waiting = outbox.of(photo);
  const standing = state.standing.get(photo);
  if (state.gone.has(photo)) return { kind: "gone", words: "removed from the ledger" };
  if (waiting) return { kind: "waiting", words: waiting.verdict ? `${waiting.verdict} …` : "undo …" };
  if (!standing) return { kind: "open", words: "" };
  const keep = standing.verdict === "keep";
  return { kind: keep ? "kept" : "rejected", words: (keep ? "✓" : "✕") + (standing.reason ? ` ${standing.reason}` : "") };
}

function fillCell(cell, index) {
  const photo = grid.keys[index];
  const { kind, words } = status(photo);
  cell.dataset.kind = kind;
  cell.dataset.photo = photo;
  cell.badge.textContent = words;
  cell.setAttribute("aria-label", `photo ${index + 1}, ${kind}${words ? `, ${words}` : ""}`);
  const flags = (state.flags[photo] ?? []).map(([by]) => by).join(" · ");
  if (cell.flags.textContent !== flags) cell.flags.textContent = flags;
}

function focus(index) {
  grid.moveTo(index);
  show();
  keepPlace();
}

/** Everything beside the grid that tells of the focused photo. */
function show() {
  const photo = grid.keys[grid.focus];
  if (!photo) return;
  const next = grid.keys.slice(grid.focus + 1, grid.focus + 1 + AHEAD);
  panel.focus(photo, next);
  const { kind, words } = status(photo);
  const count = `${grid.focus + 1} of ${grid.keys.length}`;
  zoom.show(photo, next, `${count}${words ? ` · ${words}` : ""}`);
  zoom.element.dataset.kind = kind;
}

function showProgress() {
  const { all, kept, rejected } = state.progress;
  $("#progress").textContent = told(state.progress, perMinute(state.times, Date.now() / 1000));
  const [first, second] = document.querySelectorAll("#bar i");
  first.style.width = `${(100 * kept) / Math.max(all, 1)}%`;
  second.style.width = `${(100 * rejected) / Math.max(all, 1)}%`;
  for (const button of document.querySelectorAll("#states button")) {
    const count = { open: all - kept - rejected, kept, rejected, all }[button.dataset.state];
    button.querySelector("b").textContent = count.toLocaleString("en").replaceAll(",", "\u202f");
    button.setAttribute("aria-pressed", button.dataset.state === state.choice.state);
  }
}

function say(words) {
  $("#word").textContent = words;
}

function tellTrouble(refusal) {
  const lost = state.refused.size;
  const [words] = state.refused.values();
  $("#trouble").hidden = !refusal && !lost;
  $("#look").hidden = !lost;
  const told = lost ? `${lost === 1 ? "A decision was" : `${lost} decisions were`} not saved, as the server refuses it: ${words}.` : "";
  if (!refusal) {
    $("#what").textContent = told;
    return;
  }
  const waits = outbox.waiting === 1 ? "1 decision waits here and is" : `${outbox.waiting} decisions wait here and are`;
  const what = {
    0: "The server does not answer. Trying again …",
    401: "The server was started anew: open the link that it printed, in this browser, and this page goes on by itself.",
  }[refusal.status] ?? `The server says: ${refusal.message}.`;
  $("#what").textContent = `${told} ${what}`.trim() + (outbox.waiting ? ` ${waits} not saved yet.` : "");
}

// loading

let turn = 0; // of the newest list that was asked for: an older one that comes later is not shown

async function load(at = null) {
  const { state: wanted, filters, by, reason } = state.choice;
  const mine = ++turn;
  state.heard.clear();
  let answer;
  try {
    answer = await ask(`/api/photos?${new URLSearchParams({ state: wanted, filters, by, reason })}`);
    if (mine !== turn) return;
    tellTrouble(null);
  } catch (refusal) {
    if (mine !== turn) return;
    tellTrouble(refusal);
    if (refusal.status === 400) state.choice = EVERYTHING; // one of another version, which asking again does not mend
    setTimeout(() => mine === turn && load(at), 1500);
    return;
  }
  const kept = readPlace();
  if (answer.ledger !== state.ledger && kept && kept.ledger === answer.ledger && at === null) {
    state.ledger = answer.ledger;
    grid.size = kept.size ?? grid.size;
    at = kept.photo;
    if (JSON.stringify(kept.choice) !== JSON.stringify(state.choice)) {
      state.choice = { ...EVERYTHING, ...kept.choice };
      load(at);
      return;
    }
  }
  state.ledger = answer.ledger;
  state.index = new Map(answer.keys.map((key, place) => [key, place]));
  state.flags = answer.flags;
  note(answer);
  if (!state.done.length) state.done = answer.recent.map((one) => one.photo);
  if (!state.times.length) state.times = answer.recent.map((one) => one.at);
  state.progress = answer.progress;
  document.title = `Review of ${answer.name}`;
  $("#name").textContent = answer.name;
  $("#empty").hidden = answer.keys.length > 0;
  $("#empty").textContent = wanted === "open" && filters === "any" ? "Everything is decided." : "No photo is like that.";
  listFilters(answer.reasons);
  panel.forget();
  for (const { pictures } of [grid, zoom]) pictures.forgetErrors();
  showProgress();
  grid.show(answer.keys, at === null ? 0 : placeOf(answer.keys, at));
  panel.element.classList.toggle("unknown", !answer.keys.length);
  show();
  keepPlace();
}

/** What stands, as a list tells it, but for what is newer than the list. */
function note({ keys, hand, recent }) {
  const isNewer = (photo) => state.heard.has(photo) || outbox.of(photo);
  for (const photo of keys) if (!isNewer(photo)) state.standing.delete(photo);
  for (const one of [...Object.values(hand), ...recent]) if (!isNewer(one.photo)) state.standing.set(one.photo, one);
}

/** Where a photo is among sorted keys, or the one after it, where it is not. */
function placeOf(keys, photo) {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle] < photo) low = middle + 1;
    else high = middle;
  }
  return low;
}

function listFilters(reasons) {
  const { filters, by, reason } = state.choice;
  const options = [
    [{ filters: "any", by: "", reason: "" }, "whatever they said"],
    [{ filters: "passed", by: "", reason: "" }, "all keep it"],
    [{ filters: "rejected", by: "", reason: "" }, "some reject it"],
    ...reasons.map(([one, why, count]) => [
      { filters: "one", by: one, reason: why }, `${why ? `\u2003${why}` : `${one} rejects it`} (${count})`]),
  ];
  const now = JSON.stringify({ filters, by, reason });
  if (!options.some(([value]) => JSON.stringify(value) === now)) { // it says so of no photo any more
    options.push([{ filters, by, reason }, `${by} rejects it${reason ? `: ${reason}` : ""} (0)`]);
  }
  $("#filters").replaceChildren(...options.map(([value, words]) => {
    const option = new Option(words, JSON.stringify(value));
    option.selected = option.value === now;
    return option;
  }));
}

function choose(change, photo = grid.keys[grid.focus]) {
  state.choice = { ...state.choice, ...change };
  load(photo ?? null);
  toPhotos();
}

function readPlace() {
  try {
    return JSON.parse(localStorage.getItem(PLACE));
  } catch {
    return null;
  }
}

let timer = 0;
function keepPlace(now = false) {
  clearTimeout(timer);
  const keep = () => {
    const { ledger, choice } = state;
    if (ledger) localStorage.setItem(PLACE, JSON.stringify({ ledger, choice, size: grid.size, photo: grid.keys[grid.focus] }));
  };
  if (now) keep();
  else timer = setTimeout(keep, 150);
}

/** Whether the server is there still, and how far others are. */
async function pulse() {
  if (!outbox.waiting && !document.hidden) {
    try {
      state.progress = await ask("/api/progress");
      if (!outbox.waiting) tellTrouble(null);
      showProgress();
    } catch (refusal) {
      tellTrouble(refusal);
    }
  }
  setTimeout(pulse, $("#trouble").hidden ? PULSE : 1000);
}

// keys and buttons

const ACTIONS = {
  keep: () => decide("keep"),
  reject: () => decide("reject"),
  why: () => askWhy(),
  reason: (digit) => decide("reject", REASONS[Number(digit) - 1]),
  undo: () => undo(),
  takeBack: () => takeBack(grid.keys[grid.focus]),
  left: () => focus(grid.focus - 1),
  right: () => focus(grid.focus + 1),
  up: () => grid.focus >= grid.columns && focus(grid.focus - grid.columns),
  down: () => focus(grid.focus + grid.columns),
  pageUp: () => focus(grid.focus - grid.columns * grid.rowsInWindow),
  pageDown: () => focus(grid.focus + grid.columns * grid.rowsInWindow),
  first: () => focus(0),
  last: () => focus(grid.keys.length - 1),
  nextOpen: () => {
    const next = grid.keys.findIndex((key, place) => place > grid.focus && status(key).kind === "open");
    if (next >= 0) focus(next);
    else say("no open photo after this one");
  },
  zoom: () => (zoom.isOpen ? zoom.close() : zoom.open()),
  actual: () => zoom.isOpen && zoom.toggle(),
  larger: () => sized(1),
  smaller: () => sized(-1),
  turn: () => panel.turn(),
  panel: () => {
    document.body.classList.toggle(matchMedia("(max-width: 820px)").matches ? "with-panel" : "without-panel");
  },
  help: () => openDialog($("#help")),
  close: () => (zoom.isOpen ? zoom.close() : document.body.classList.remove("with-panel")),
};
const HELD = ["left", "right", "up", "down", "pageUp", "pageDown"]; // a held key decides nothing twice

function sized(by) {
  grid.resize(by);
  keepPlace();
}

/** The keyboard's focus to the grid; to nothing where the zoom covers that, so that no button takes Space. */
function toPhotos() {
  if (zoom.isOpen) document.activeElement.blur();
  else $("#grid").focus();
}

/** Open a dialog from the photos: what had the focus has it again as soon as it closes, and a button would take Space. */
function openDialog(dialog) {
  toPhotos();
  dialog.showModal();
}

function askWhy() {
  $("#words").value = "";
  openDialog($("#reasons"));
  $("#reasons").focus();
}

function giveReason(words) {
  $("#reasons").close();
  decide("reject", words);
}

function prepare() {
  listen((name, sign, repeat) => {
    if (!repeat || HELD.includes(name)) ACTIONS[name](sign);
  });
  for (const name of ["keep", "reject", "why", "undo", "larger", "smaller"]) {
    $(`#${name}`).addEventListener("click", () => ACTIONS[name]());
  }
  $("#look").addEventListener("click", showRefused);
  $("#ask").addEventListener("click", ACTIONS.help);
  $("#about").addEventListener("click", ACTIONS.panel);
  for (const button of document.querySelectorAll("#states button")) {
    button.addEventListener("click", () => choose({ state: button.dataset.state }));
  }
  $("#filters").addEventListener("change", (event) => choose(JSON.parse(event.target.value)));
  $("#help dl").replaceChildren(...table());
  $("#reasons ol").replaceChildren(...REASONS.map((words, place) => {
    const [item, button, key] = ["li", "button", "kbd"].map((kind) => document.createElement(kind));
    key.textContent = place + 1;
    button.type = "button";
    button.append(key, ` ${words}`);
    button.addEventListener("click", () => giveReason(words));
    item.append(button);
    return item;
  }));
  $("#reasons").addEventListener("keydown", (event) => {
    if (event.target === $("#words")) {
      if (event.key !== "Enter") return;
      event.preventDefault();
      giveReason($("#words").value.trim().replace(/\s+/g, " "));
    } else if (event.ctrlKey || event.metaKey || event.altKey || event.key === " ") {
      return; // not the beginning of words
    } else if (/^[1-9]$/.test(signOf(event))) {
      event.preventDefault();
      giveReason(REASONS[Number(signOf(event)) - 1]);
    } else if (event.key.length === 1) $("#words").focus();
  });
  // Space and Enter belong to the focused photo again once a button was clicked; one that a key pressed has no detail.
  for (const bar of document.querySelectorAll("header, footer")) {
    bar.addEventListener("click", (event) => {
      if (event.detail && event.target.closest("button") && !document.querySelector("dialog[open]")) toPhotos();
    });
  }
  addEventListener("beforeunload", (event) => {
    if (outbox.waiting) event.preventDefault();
  });
  addEventListener("pagehide", () => keepPlace(true));
  setInterval(showProgress, 5000);
}

prepare();
$("#grid").focus();
load();
ask("/api/map").then((data) => panel.map.load(data)).catch(() => {});
setTimeout(pulse, PULSE);
