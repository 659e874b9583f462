// A protocol's settings inside a gr.HTML. Scope: element, props, trigger, watch. The value is
// {of, values}; a field that is empty or at its default is told as such, the server validates.
'use strict';
const root = element.querySelector('.studio-form') || element;
const prefix = `field-${Math.random().toString(36).slice(2, 8)}`;
const RANGE_PAUSE_MS = 150;
let timer = 0;

function el(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text) node.textContent = text;
  return node;
}

const held = () => props.value?.values || {};
const isStandard = (field) => (held()[field.name] ?? field.standard) === field.standard;

// The value changes at once, so that Run sends it; the event that asks for the cost waits a moment.
function put(name, value) {
  props.value = { ...props.value, values: { ...held(), [name]: value } };
  marks();
  clearTimeout(timer);
  timer = setTimeout(() => trigger('input'), RANGE_PAUSE_MS);
}

function marks() {
  let other = 0;
  for (const field of props.fields) {
    const row = root.querySelector(`[data-field="${field.name}"]`);
    if (!row) continue;
    row.dataset.changed = String(!isStandard(field));
    other += Number(!isStandard(field));
  }
  const reset = root.querySelector('.studio-form-reset');
  if (reset) reset.hidden = !other;
}

function input(type, field) {
  const node = el('input');
  node.type = type;
  for (const [name, limit] of [['min', field.low], ['max', field.high], ['step', field.step]]) {
    if (limit !== null && limit !== undefined) node[name] = String(limit);
  }
  return node;
}

const numberOf = (node) => (node.value === '' ? null : Number(node.value));

const CONTROLS = {
  choice(field) {
    const node = el('select');
    for (const [label, value] of field.choices) {
      const option = el('option', '', label);
      option.value = value;
      node.append(option);
    }
    node.value = held()[field.name] ?? field.standard;
    node.addEventListener('change', () => put(field.name, node.value));
    return [node];
  },
  check(field) {
    const node = input('checkbox', field);
    node.checked = Boolean(held()[field.name] ?? field.standard);
    node.addEventListener('change', () => put(field.name, node.checked));
    return [node];
  },
  number(field) {
    const node = input('number', field);
    node.value = String(held()[field.name] ?? '');
    node.placeholder = String(field.standard ?? '');
    node.addEventListener('input', () => put(field.name, numberOf(node)));
    return [node];
  },
  range(field) {
    const [exact] = CONTROLS.number(field);
    const slide = input('range', field);
    const follow = () => { slide.value = exact.value === '' ? field.standard : exact.value; };
    slide.setAttribute('aria-label', `${field.label}, slider`);
    slide.addEventListener('input', () => {
      exact.value = slide.value;
      put(field.name, Number(slide.value));
    });
    exact.addEventListener('input', follow);
    follow();
    return [exact, slide];
  },
  text(field) {
    const node = input('text', field);
    node.value = String(held()[field.name] ?? '');
    node.placeholder = String(field.standard || 'not set');
    node.addEventListener('input', () => put(field.name, node.value));
    return [node];
  },
};

function row(field) {
  const node = el('div', `studio-field studio-field-${field.kind}`);
  node.dataset.field = field.name;
  const [main, ...others] = CONTROLS[field.kind](field);
  const [label, info] = [el('label', '', field.label), el('p', 'studio-field-info', field.info)];
  main.id = label.htmlFor = `${prefix}-${field.name}`;
  info.id = `${main.id}-info`;
  for (const control of [main, ...others]) control.setAttribute('aria-describedby', info.id);
  node.append(label, main, ...others, info);
  return node;
}

function reset() {
  const standard = props.fields.map((field) => [field.name, field.standard]);
  props.value = { ...props.value, values: Object.fromEntries(standard) };
  draw();
  trigger('input');
}

function draw() {
  const back = el('button', 'studio-mini studio-form-reset', 'Back to the defaults');
  back.type = 'button';
  back.addEventListener('click', reset);
  const none = props.fields.length ? [] : [el('p', 'studio-field-info', 'Nothing to set here.')];
  root.replaceChildren(...none, ...props.fields.map(row), back);
  marks();
}

draw();
watch(['value', 'fields'], draw);
