// Points of figures and buttons in their tables ask for the runs behind them. Scope: props, trigger.
'use strict';
let asked = 0;
const hooked = new WeakMap();

// A number makes each request new: the same point may be picked twice.
function ask(point) {
  props.value = `${point}@${asked += 1}`;
  trigger('change');
}

document.addEventListener('click', (event) => {
  const sorting = event.target.closest('[data-sort]');
  if (sorting) sort(sorting);
  const button = event.target.closest('[data-point]');
  if (button) ask(button.dataset.point);
});

// Tables: a heading's button sorts, a word filters. What has no number sorts last.
function sort(button) {
  const head = button.closest('th');
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute('aria-sort') !== 'descending';
  for (const one of head.parentNode.children) one.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const body = head.closest('table').tBodies[0];
  const by = (row) => row.children[column].dataset.by;
  const compare = (a, b) => {
    if (!a || !b) return (a ? 0 : 1) - (b ? 0 : 1);
    const [x, y] = [Number(a), Number(b)];
    const order = Number.isNaN(x) || Number.isNaN(y) ? b.localeCompare(a) : x - y;
    return down ? -order : order;
  };
  body.append(...[...body.rows].sort((a, b) => compare(by(a), by(b))));
}

function filter(input) {
  const part = input.closest('section');
  const word = input.value.trim().toLowerCase();
  const rows = [...part.querySelectorAll('tbody tr')];
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
  const left = rows.filter((row) => !row.hidden).length;
  part.querySelector('[data-left]').textContent = word ? `${left} of ${rows.length} rows` : '';
}

document.addEventListener('input', (event) => {
  if (event.target.matches('[data-filter]')) filter(event.target);
});

// A figure brings a wide and a narrow layout; the page knows how wide it is a frame later.
const NARROW = 700;
function fit(plot) {
  const both = plot.layout && plot.layout.meta;
  const name = plot.clientWidth < NARROW ? 'narrow' : 'wide';
  if (!both || !both[name] || !plot.clientWidth || plot.dataset.fits === name) return;
  plot.dataset.fits = name;
  window.Plotly.relayout(plot, both[name]);
}
function fitAll() {
  for (const plot of document.querySelectorAll('.js-plotly-plot')) fit(plot);
}
window.addEventListener('resize', fitAll);

// Plotly forgets its listeners when a figure is drawn anew, and then has another emitter.
function hook() {
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    if (!plot.on || hooked.get(plot) === plot._ev) continue;
    hooked.set(plot, plot._ev);
    delete plot.dataset.fits;
    if (window.Plotly) requestAnimationFrame(() => fit(plot));
    plot.on('plotly_click', (event) => {
      const named = event.points.map((point) => point.customdata).find((data) => data && data[0]);
      if (named) ask(named[0]);
    });
  }
}

new MutationObserver(hook).observe(document.body, { childList: true, subtree: true });
hook();
