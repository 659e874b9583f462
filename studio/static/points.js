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
  const button = event.target.closest('[data-point]');
  if (button) ask(button.dataset.point);
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
