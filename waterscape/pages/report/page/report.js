// Reading curves, enlarging pictures, copying the command, all of it opened for printing. The page is whole without it.

const SVG = 'http://www.w3.org/2000/svg';

function readable(svg) {
  const lines = [...svg.querySelectorAll('[data-values]')].map(one => ({
    name: one.dataset.name,
    colour: one.getAttribute('class').match(/\bc\d\b/)?.[0] ?? 'c0',
    values: pairs(one.dataset.values),
    places: one.points ? [...one.points].map(p => [p.x, p.y]) : [one.dataset.place.split(',').map(Number)],
  }));
  const keys = new Map([...svg.parentElement.querySelectorAll('.legend span')].map(one => [one.textContent, one]));
  for (const line of lines) line.key = keys.get(line.name);
  const reading = svg.querySelector('.reading');
  if (!lines.length || !reading) return;
  const tip = document.createElement('div');
  tip.className = 'tip';
  tip.hidden = true;
  svg.parentElement.append(tip);
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    const x = (event.clientX - box.left) / box.width * view.width;
    show(lines, x, reading, tip, svg.dataset.unit, view.height);
    const left = event.clientX - box.left + 14;
    const most = svg.parentElement.clientWidth - tip.offsetWidth - 4;
    tip.style.left = `${Math.max(4, left > most ? left - tip.offsetWidth - 28 : left)}px`;
    tip.style.top = `${Math.max(4, event.clientY - box.top - 10)}px`;
  });
  svg.addEventListener('pointerleave', () => { tip.hidden = true; reading.replaceChildren(); });
}

function pairs(text) {
  return text.split(' ').map(pair => pair.split(',').map(Number));
}

function show(lines, x, reading, tip, unit, height) {
  const found = lines.map(line => ({ ...line, at: nearest(line.places, x) }));
  const closest = found.reduce((a, b) => Math.abs(a.places[a.at][0] - x) < Math.abs(b.places[b.at][0] - x) ? a : b);
  const upright = element('line', { x1: closest.places[closest.at][0], x2: closest.places[closest.at][0], y1: 8, y2: height - 24 });
  const near = found.filter(one => Math.abs(one.places[one.at][0] - closest.places[closest.at][0]) < 12);
  const dots = near.map(one => element('circle', { cx: one.places[one.at][0], cy: one.places[one.at][1], r: 3.5, class: one.colour }));
  reading.replaceChildren(upright, ...dots);
  const head = document.createElement('b');
  head.textContent = `${closest.values[closest.at][0].toLocaleString('en')} ${unit}`;
  tip.replaceChildren(head, ...near.map(one => told(one)));
  tip.hidden = false;
}

function told(one) {
  const row = document.createElement('div'), key = document.createElement('i');
  key.className = `key ${one.colour}`;
  const signs = one.key ? [...one.key.children].map(sign => sign.cloneNode(true)) : [key];
  row.append(...signs, `${one.values[one.at][1]} ${one.name}`);
  return row;
}

function nearest(places, x) {
  let low = 0, high = places.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - places[low - 1][0] < places[low][0] - x ? low - 1 : low;
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

document.querySelectorAll('.chart > svg').forEach(readable);

const dialog = document.querySelector('dialog');
function enlarge(image) {
  const large = dialog.querySelector('img');
  large.src = image.src;
  large.alt = image.alt;
  large.className = image.className;
  dialog.querySelector('p').textContent = image.alt;
  dialog.showModal();
}
document.querySelector('main').addEventListener('click', event => event.target.matches('img') && enlarge(event.target));
document.querySelector('main').addEventListener('keydown', event => {
  if (event.key === 'Enter' && event.target.matches('img')) enlarge(event.target);
});
dialog.addEventListener('click', () => dialog.close());

for (const button of document.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const text = button.parentElement.querySelector('code').textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a file opened from a disk may not always write there: mark it, to be copied by hand
      getSelection().selectAllChildren(button.parentElement.querySelector('code'));
      return;
    }
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}

const links = new Map([...document.querySelectorAll('nav a')].map(link => [link.hash.slice(1), link]));
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    links.forEach((link, key) => link.classList.toggle('here', key === entry.target.id));
  }
}, { rootMargin: '-20% 0px -75% 0px' });
document.querySelectorAll('section').forEach(section => seen.observe(section));

let closed = [];
addEventListener('beforeprint', () => {
  closed = [...document.querySelectorAll('details:not([open])')];
  closed.forEach(one => { one.open = true; });
});
addEventListener('afterprint', () => closed.forEach(one => { one.open = false; }));
