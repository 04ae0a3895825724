// The keyboard: which key does what, and the table of them that the page shows.

export const KEYS = [
  ["Keep", ["y", " "], "keep", "Y or Space"],
  ["Reject", ["n", "x", "Delete"], "reject", "N or X"],
  ["Reject, with a reason", ["r"], "why", "R"],
  ["Reject for reason 1 to 9", [..."123456789"], "reason", "1 … 9"],
  ["Undo the last decision", ["u", "Backspace", "Ctrl+z"], "undo", "U or Ctrl Z"],
  ["Take this photo's decision back", ["Shift+u"], "takeBack", "Shift U"],
  ["Left, right", ["ArrowLeft", "h"], "left", "← → or H L"],
  [null, ["ArrowRight", "l"], "right"],
  ["Up, down", ["ArrowUp", "k"], "up", "↑ ↓ or K J"],
  [null, ["ArrowDown", "j"], "down"],
  ["A page up, down", ["PageUp"], "pageUp", "Page ↑ ↓"],
  [null, ["PageDown"], "pageDown"],
  ["First, last", ["Home", "g"], "first", "Home End"],
  [null, ["End", "Shift+g"], "last"],
  ["Next open photo", ["o"], "nextOpen", "O"],
  ["Zoom, and back", ["z", "Enter"], "zoom", "Z or Enter"],
  ["In the zoom: own pixels, or fitted", ["f"], "actual", "F or click"],
  ["Larger, smaller pictures", ["+", "="], "larger", "+ −"],
  [null, ["-", "_"], "smaller"],
  ["Next satellite tile, where several", ["t"], "turn", "T"],
  ["Show or hide place and filters", ["i"], "panel", "I"],
  ["These keys", ["?"], "help", "?"],
  ["Close", ["Escape"], "close", "Esc"],
];

const SIGNS = [" ", "+", "=", "-", "_", "?"]; // wherever a layout has them

/**
 * What a key is called in the table above. A letter or digit is that on the key, whether Caps Lock is on or not; where a
 * layout has none of Latin there, as the Russian one has not, that of the key's place.
 */
export function signOf({ key, code, shiftKey }) {
  if (key.length > 1 || SIGNS.includes(key)) return key;
  const sign = /^[a-z0-9]$/i.test(key) ? key : /^(?:Key|Digit)(.)$/.exec(code)?.[1] ?? "";
  return (shiftKey && !/^[0-9]$/.test(key) ? "Shift+" : "") + sign.toLowerCase();
}

/** Call on(name, sign, repeat) for each key that means something, unless somebody types or a dialog is open. */
export function listen(on) {
  const names = new Map(KEYS.flatMap(([, keys, name]) => keys.map((key) => [key, name])));
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return;
    const sign = (event.ctrlKey ? "Ctrl+" : "") + signOf(event);
    const name = names.get(sign) ?? names.get(sign.replace(/^Shift\+(?=[a-z]$)/, ""));
    if (!name) return;
    event.preventDefault();
    on(name, sign, event.repeat);
  });
}

/** The table, as pairs of elements for a list of definitions. */
export function table() {
  return KEYS.filter(([words]) => words).flatMap(([words, , , shown]) => {
    const [term, meaning] = [document.createElement("dt"), document.createElement("dd")];
    meaning.textContent = words;
    for (const part of shown.split(" ")) {
      const key = document.createElement(["or", "…"].includes(part) ? "span" : "kbd");
      key.textContent = part;
      term.append(key, " ");
    }
    return [term, meaning];
  });
}
