// The cards of all pools: search, filters, and two or three side by side. Contributors' words are
// set as text. Scope: element, props, watch.
'use strict';
const root = element.querySelector('.studio-pool') || element;
const MOST = 3;
const SIZES = [
  ['under 1B', (n) => n > 0 && n < 1e9], ['1B to 4B', (n) => n >= 1e9 && n <= 4e9],
  ['over 4B to 8B', (n) => n > 4e9 && n <= 8e9], ['over 8B', (n) => n > 8e9], ['unknown', (n) => !n],
];
const NONE = 'not stated';
const FILTERS = [
  ['pool', 'Pool'], ['domain', 'Domain'], ['base', 'Base'], ['size', 'Size'],
  ['licence', 'Licence'], ['kind', 'Kind'],
];
// So many cards of a pool are shown at first; a phone's page would be forty screens long.
const FIRST = window.matchMedia('(max-width: 600px)').matches ? 4 : 12;
const whole = new Set();
const chosen = {};
let query = '';
let compared = [];
const parts = {};

function el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text) node.textContent = text;
  return node;
}

function sizeOf(card) {
  return SIZES.find(([, fits]) => fits(card.parameters))[0];
}

function valueOf(card, name) {
  return name === 'size' ? sizeOf(card) : String(card[name] || NONE);
}

function fits(card, name) {
  if (!chosen[name]) return true;
  return name === 'pool' ? card.pools.includes(chosen.pool) : valueOf(card, name) === chosen[name];
}

function matches(card) {
  const words = [card.id, card.name, card.domain, card.description, card.by, card.base, card.kind];
  return words.join(' ').toLowerCase().includes(query.trim().toLowerCase())
    && FILTERS.every(([name]) => fits(card, name));
}

function factList(facts) {
  const list = el('dl', 'studio-facts');
  for (const [name, value] of facts) list.append(el('dt', '', name), el('dd', '', value));
  return list;
}

// An accuracy as a bar with its interval; the numbers are in the text.
function barNode(bar) {
  const [node, track] = [el('div', 'studio-measure'), el('span', 'studio-measure-track')];
  track.setAttribute('aria-hidden', 'true');
  node.style.setProperty('--value', String(bar.value));
  track.append(el('span', 'studio-measure-fill'));
  if (bar.interval) {
    const whisker = el('span', 'studio-measure-interval');
    whisker.style.setProperty('--low', String(bar.interval[0]));
    whisker.style.setProperty('--high', String(bar.interval[1]));
    track.append(whisker);
  }
  const told = /^(\S+) \((.*)\)$/.exec(bar.told) || ['', bar.told, ''];
  node.append(el('span', 'studio-measure-name', bar.name), el('strong', '', told[1]), track,
    el('span', 'studio-measure-told', told[2]));
  return node;
}

function ownPage(card) {
  const link = el('a', 'studio-pool-link', 'Its page');
  link.href = '/contributor?model=' + encodeURIComponent(card.id);
  link.setAttribute('aria-label', `Page of ${card.name}`);
  return link;
}

function compareBox(card) {
  const label = el('label', 'studio-pool-compare');
  const box = el('input');
  box.type = 'checkbox';
  box.value = card.id;
  box.checked = compared.includes(card.id);
  box.disabled = !box.checked && compared.length >= MOST;
  box.addEventListener('change', () => {
    compared = box.checked ? [...compared, card.id] : compared.filter((id) => id !== card.id);
    drawCompared();
    for (const other of root.querySelectorAll('.studio-pool-compare input')) {
      other.checked = compared.includes(other.value);
      other.disabled = !other.checked && compared.length >= MOST;
    }
  });
  label.append(box, el('span', '', 'Compare'));
  return label;
}

function cardNode(card) {
  const node = el('article', 'studio-pool-card');
  node.dir = 'auto';
  const head = el('h3', 'studio-card-head');
  head.append(el('span', '', card.name), el('span', 'studio-card-size', card.size));
  node.append(head);
  if (card.domain) node.append(el('p', 'studio-pool-domain', card.domain));
  if (card.description) node.append(el('p', 'studio-card-domain', card.description));
  if (card.needs) node.append(el('p', 'studio-pool-needs', card.needs));
  if (card.held) node.append(el('p', 'studio-card-held', card.held));
  const foot = el('div', 'studio-pool-foot');
  foot.append(compareBox(card), ownPage(card));
  const drawn = new Set(card.bars.map((bar) => bar.name));
  const rest = card.facts.filter(([name]) => !drawn.has(name));
  node.append(...card.bars.map(barNode), factList(rest), foot);
  return node;
}

function resultText(card, title) {
  return (card.tested.find((row) => row.title === title) || {}).told;
}

function tableRow(name, cells) {
  const row = el('tr');
  const head = el('th', '', name);
  head.scope = 'row';
  row.append(head, ...cells.map((text) => el('td', '', text || '–')));
  return row;
}

function comparedTable(cards) {
  const table = el('table', 'studio-table');
  const head = el('tr');
  head.append(el('td', ''), ...cards.map((card) => {
    const cell = el('th', '', card.name);
    cell.scope = 'col';
    return cell;
  }));
  const top = el('thead');
  top.append(head);
  const body = el('tbody');
  for (const [name, label] of FILTERS) {
    body.append(tableRow(label, cards.map((card) => (name === 'size' ? card.size : card[name]))));
  }
  const titles = [...new Set(cards.flatMap((card) => card.tested.map((row) => row.title)))].sort();
  for (const title of titles) {
    body.append(tableRow(title, cards.map((card) => resultText(card, title))));
  }
  table.append(top, body);
  return table;
}

function drawCompared() {
  const cards = compared.map((id) => props.cards.find((card) => card.id === id)).filter(Boolean);
  compared = cards.map((card) => card.id);
  if (cards.length < 2) {
    const told = cards.length ? `${cards[0].name}: tick one or two more to compare.` : '';
    parts.beside.replaceChildren(...(told ? [el('p', 'studio-pool-count', told)] : []));
    return;
  }
  const scroll = el('div', 'studio-scroll');
  scroll.tabIndex = 0;
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', 'Models side by side');
  scroll.append(comparedTable(cards));
  const note = 'Accuracy on test items with a 95% interval; n is the number of items. A dash: not measured.';
  const clear = el('button', 'studio-mini', 'Compare no more');
  clear.type = 'button';
  clear.addEventListener('click', () => { compared = []; drawCompared(); drawCards(); });
  parts.beside.replaceChildren(el('h2', '', 'Side by side'), scroll, el('p', 'studio-pool-count', note), clear);
}

function narrowed() {
  return query.trim() !== '' || FILTERS.some(([name]) => chosen[name]);
}

function moreButton(pool, cards, grid) {
  const more = el('button', 'studio-mini studio-pool-more', `Show all ${cards.length} of ${pool.title}`);
  more.type = 'button';
  more.addEventListener('click', () => {
    whole.add(pool.title);
    const known = grid.childElementCount;
    grid.replaceChildren(...cards.map(cardNode));
    more.remove();
    grid.children[Math.min(known, FIRST)].querySelector('input:not(:disabled), a').focus();
  });
  return more;
}

function drawCards() {
  const shown = props.cards.filter(matches);
  parts.count.textContent = `${shown.length} of ${props.cards.length} models`;
  const groups = [];
  for (const pool of props.pools) {
    const inside = shown.filter((card) => (chosen.pool || card.pool) === pool.title);
    if (!inside.length) continue;
    const grid = el('div', 'studio-pool-grid');
    // What people handed in here, and what is held, is always to be seen.
    const first = inside.filter((card, place) => place < FIRST || card.contributed || card.held);
    const all = narrowed() || whole.has(pool.title) || first.length === inside.length;
    grid.append(...(all ? inside : first).map(cardNode));
    groups.push(el('h2', '', pool.title), el('p', 'studio-pool-about', pool.about), grid);
    if (!all) groups.push(moreButton(pool, inside, grid));
  }
  if (!shown.length) groups.push(el('p', 'studio-picker-none', 'No model matches. Take a filter away.'));
  parts.cards.replaceChildren(...groups);
}

function options(name) {
  if (name === 'size') return SIZES.map(([label]) => label);
  if (name === 'pool') return props.pools.map((pool) => pool.title);
  const known = new Set(props.cards.map((card) => valueOf(card, name)));
  return [...known].sort((a, b) => a.localeCompare(b));
}

function fillFilters() {
  for (const [name, label] of FILTERS) {
    const kept = chosen[name] || '';
    const all = el('option', '', 'all');
    all.value = '';
    parts[name].replaceChildren(all, ...options(name).map((text) => {
      const option = el('option', '', text);
      option.value = text;
      return option;
    }));
    parts[name].value = kept;
    parts[name].setAttribute('aria-label', label);
  }
}

function filterNode([name, label]) {
  const box = el('label', 'studio-pool-filter');
  parts[name] = el('select', 'studio-search');
  parts[name].name = name;
  parts[name].addEventListener('change', () => { chosen[name] = parts[name].value; drawCards(); });
  box.append(el('span', '', label), parts[name]);
  return box;
}

function frame() {
  const search = el('input', 'studio-search');
  search.type = 'search';
  search.placeholder = 'Search names, domains, descriptions';
  search.setAttribute('aria-label', 'Search models');
  search.addEventListener('input', () => { query = search.value; drawCards(); });
  const filters = el('div', 'studio-pool-filters');
  filters.append(...FILTERS.map(filterNode));
  parts.count = el('p', 'studio-pool-count');
  parts.count.setAttribute('role', 'status');
  parts.beside = el('section', 'studio-pool-beside');
  parts.cards = el('div');
  root.replaceChildren(search, filters, parts.count, parts.beside, parts.cards);
}

function draw() {
  fillFilters();
  drawCards();
  drawCompared();
}

frame();
draw();
watch(['cards', 'pools'], draw);
