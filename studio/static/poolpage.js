// The cards of a pool with their facts. Contributors' words are set as text. Scope: element, props, watch.
'use strict';
const root = element.querySelector('.studio-pool') || element;

function el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text) node.textContent = text;
  return node;
}

function factList(facts) {
  const list = el('dl', 'studio-facts');
  for (const [name, value] of facts) list.append(el('dt', '', name), el('dd', '', value));
  return list;
}

// An accuracy as a bar with its interval; the numbers are in the text.
function barNode(bar) {
  const [node, track] = [el('div', 'studio-measure'), el('span', 'studio-measure-track')];
  node.style.setProperty('--value', String(bar.value));
  track.append(el('span', 'studio-measure-fill'));
  if (bar.interval) {
    const whisker = el('span', 'studio-measure-interval');
    whisker.style.setProperty('--low', String(bar.interval[0]));
    whisker.style.setProperty('--high', String(bar.interval[1]));
    track.append(whisker);
  }
  node.append(el('span', 'studio-measure-name', bar.name),
    el('strong', '', bar.percent), track,
    el('span', 'studio-measure-told', bar.told));
  return node;
}

function cardNode(card) {
  const node = el('article', 'studio-pool-card');
  node.dir = 'auto';
  const head = el('h3', 'studio-card-head');
  head.append(el('span', '', card.name), el('span', 'studio-card-size', card.size));
  node.append(head, el('p', 'studio-card-domain', card.description || card.domain));
  if (card.held) node.append(el('p', 'studio-card-held', card.held));
  node.append(...card.bars.map(barNode));
  node.append(factList(card.facts), el('code', 'studio-card-id', card.id));
  return node;
}

function draw() {
  const grid = el('div', 'studio-pool-grid');
  grid.append(...props.cards.map(cardNode));
  root.replaceChildren(el('h2', '', props.title), el('p', '', props.about), grid);
}

draw();
watch(['cards'], draw);
