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
  const saving = event.target.closest('[data-picture]');
  if (saving) save(saving);
  const entry = event.target.closest('.studio-contents a');
  if (!entry) return;
  event.preventDefault(); // The page would load anew: Gradio gives it another base address.
  event.stopPropagation();
  if (reach(entry.hash)) history.replaceState(history.state, '', entry.href);
}, true);

// The contents lead to a heading, and so does an address once what it names is on the page.
let wanted = window.location.hash;
function reach(hash) {
  const heading = hash.length > 1 && document.getElementById(hash.slice(1));
  if (!heading) return false;
  wanted = '';
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  heading.scrollIntoView();
  return true;
}

// A figure as a file: wide, with dark words on white, whatever the page looks like.
function save(button) {
  const plot = button.closest('.studio-analysis')?.querySelector('.js-plotly-plot');
  if (!plot || !window.Plotly) return;
  const layout = structuredClone(plot.layout);
  for (const [path, value] of Object.entries((layout.meta && layout.meta.wide) || {})) {
    put(layout, path, value);
  }
  Object.assign(layout, { paper_bgcolor: '#fff', plot_bgcolor: '#fff', width: 1100 });
  layout.font = { ...layout.font, color: '#222' };
  for (const note of layout.annotations || []) note.font = { ...note.font, color: '#222' };
  const { picture: format, name: filename } = button.dataset;
  window.Plotly.downloadImage({ data: plot.data, layout }, {
    format, filename, width: 1100, height: layout.height || 440, scale: format === 'png' ? 2 : 1,
  });
}

// The keys of a relayout are paths: 'xaxis2.domain', 'annotations[3].x'.
function put(layout, path, value) {
  const steps = path.replaceAll(/\[(\d+)\]/g, '.$1').split('.');
  const last = steps.pop();
  let at = layout;
  for (const step of steps) at = at[step] ??= {};
  at[last] = value;
}

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
    plot.dataset.fits = 'wide'; // So it comes; to lay it out again is to draw it twice.
    if (window.Plotly) requestAnimationFrame(() => fit(plot));
    plot.on('plotly_click', (event) => {
      const named = event.points.map((point) => point.customdata).find((data) => data && data[0]);
      if (named) ask(named[0]);
    });
  }
}

new MutationObserver(() => {
  hook();
  if (wanted) reach(wanted);
}).observe(document.body, { childList: true, subtree: true });
hook();
