// The model picker inside a gr.HTML. Scope: element, props, trigger, watch. Card texts come from
// contributors and are only ever set as textContent.
'use strict';
const root = element.querySelector('.studio-picker') || element;
// Run sends what is picked at once; what it costs is asked for when the clicks have paused.
const PAUSE_MS = 150;
let timer = 0;
let query = '';

function el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text) node.textContent = text;
  return node;
}

function picked() {
  return Array.isArray(props.value) ? props.value : [];
}

function choose(ids) {
  // Keep the order of the cards, whatever the order of the clicks.
  props.value = props.cards.filter((c) => !c.held && ids.includes(c.id)).map((c) => c.id);
  count();
  clearTimeout(timer);
  timer = setTimeout(() => trigger('input'), PAUSE_MS);
  for (const box of root.querySelectorAll('input[type=checkbox]')) {
    box.checked = props.value.includes(box.value);
  }
  tell();
}

// The examples beside the question follow what is picked.
function tell() {
  window.studioPicked = props.cards.filter((card) => picked().includes(card.id) && card.ask);
  document.dispatchEvent(new Event('studio:picked'));
}

function toggle(id, on) {
  choose(on ? [...picked(), id] : picked().filter((other) => other !== id));
}

function matches(card) {
  const text = [card.id, card.name, card.domain, card.description, card.by].join(' ');
  return text.toLowerCase().includes(query.toLowerCase());
}

function cardNode(card) {
  const label = el('label', 'studio-card');
  label.dir = 'auto';
  const box = el('input');
  box.type = 'checkbox';
  box.value = card.id;
  box.checked = picked().includes(card.id);
  box.disabled = Boolean(card.held);
  box.addEventListener('change', () => toggle(card.id, box.checked));
  const text = el('span', 'studio-card-text');
  const head = el('span', 'studio-card-head');
  head.append(el('strong', '', card.name), el('span', 'studio-card-size', card.size));
  text.append(head, el('span', 'studio-card-domain', card.description || card.domain));
  if (card.strength) text.append(el('span', 'studio-card-strength', card.strength));
  if (card.held) text.append(el('span', 'studio-card-held', card.held));
  label.append(box, text);
  return label;
}

function count() {
  const note = root.querySelector('.studio-picker-count');
  if (note) note.textContent = `${picked().length} of ${props.cards.length} picked`;
}

function drawCards(list) {
  const shown = props.cards.filter(matches);
  list.replaceChildren(...shown.map(cardNode));
  if (!shown.length) list.append(el('p', 'studio-picker-none', 'No model matches.'));
}

function button(text, act) {
  const node = el('button', 'studio-mini', text);
  node.type = 'button';
  node.addEventListener('click', act);
  return node;
}

function draw() {
  const search = el('input', 'studio-search');
  search.type = 'search';
  search.placeholder = 'Search models';
  search.setAttribute('aria-label', 'Search models');
  const list = el('div', 'studio-cards');
  list.setAttribute('role', 'group');
  list.setAttribute('aria-label', 'Contributed models');
  search.addEventListener('input', () => { query = search.value; drawCards(list); });
  const bar = el('div', 'studio-picker-bar');
  const note = el('span', 'studio-picker-count');
  note.setAttribute('aria-live', 'polite');
  bar.append(note, button('all', () => choose(props.cards.map((c) => c.id))),
    button('none', () => choose([])));
  root.replaceChildren(search, bar, list);
  drawCards(list);
  count();
  tell();
}

// A model's page leads here with ?ask=ID: it is picked beside the first others.
function invite() {
  const wanted = new URLSearchParams(location.search).get('ask');
  const known = props.cards.some((card) => card.id === wanted && !card.held);
  if (known && !picked().includes(wanted)) choose([wanted, ...picked().slice(0, -1)]);
}

draw();
invite();
watch(['value', 'cards'], draw);
