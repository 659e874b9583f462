// The runs of this browser as a list that folds. Scope: element.
'use strict';
const root = element.querySelector('.studio-mine') || element;

function el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text) node.textContent = text;
  return node;
}

const SPANS = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];
function ago(at) {
  const past = Math.max(0, (Date.now() - at) / 1000);
  const span = SPANS.find(([seconds]) => past >= seconds);
  if (!span) return 'just now';
  const count = Math.floor(past / span[0]);
  return `${count} ${span[1]}${count === 1 ? '' : 's'} ago`;
}

function row(one) {
  const node = el('a', 'studio-mine-run');
  node.href = `?run=${encodeURIComponent(one.run)}`;
  node.addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    window.Studio.open(one.run);
  });
  const question = el('span', 'studio-mine-question', one.question);
  const answer = el('span', 'studio-mine-answer', one.answer || 'No answer.');
  question.dir = 'auto';
  answer.dir = 'auto';
  node.append(question, answer, el('span', 'studio-mine-about', `${one.title} · ${ago(one.at)}`));
  return node;
}

function draw() {
  const runs = window.Studio.history.list();
  const opened = root.querySelector('details')?.open || false;
  root.replaceChildren();
  if (!runs.length) return;
  const forget = el('button', 'studio-mini', 'Forget them');
  forget.type = 'button';
  forget.addEventListener('click', () => window.Studio.history.clear());
  const foot = el('p', 'studio-mine-foot', 'Listed in this browser only. ');
  foot.append(forget);
  const box = el('details', '');
  box.open = opened;
  box.append(el('summary', '', `Your runs (${runs.length})`), ...runs.map(row), foot);
  root.append(box);
}

(function begin(tries) {
  if (window.Studio?.history) {
    document.addEventListener('studio:runs', draw);
    draw();
  } else if (tries) setTimeout(() => begin(tries - 1), 50);
})(200);
