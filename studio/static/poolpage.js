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

function cardNode(card) {
  const node = el('article', 'studio-pool-card');
  node.dir = 'auto';
  const head = el('h3', 'studio-card-head');
  head.append(el('span', '', card.name), el('span', 'studio-card-size', card.size));
  node.append(head, el('p', 'studio-card-domain', card.description || card.domain));
  if (card.held) node.append(el('p', 'studio-card-held', card.held));
  node.append(factList(card.facts), el('code', 'studio-card-id', card.id));
  return node;
}

function draw() {
  const grid = el('div', 'studio-pool-grid');
  grid.append(...props.cards.map(cardNode));
  root.replaceChildren(el('h1', '', props.title), el('p', '', props.about), grid);
}

draw();
watch(['cards'], draw);
