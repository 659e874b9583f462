// Example questions as buttons: one for each picked model that has one, else the protocol's own. The
// value is the one that was chosen, and the page puts it into the question without asking the
// server. Scope: element, props, trigger, watch.
'use strict';
const root = element.querySelector('.studio-examples') || element;
const MOST = 4;

function chip(text, model) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'studio-example';
  node.dir = 'auto';
  if (model) {
    const name = document.createElement('b');
    name.textContent = `${model}: `;
    node.append(name);
  }
  node.append(text);
  node.addEventListener('click', () => {
    props.value = text;
    trigger('input');
  });
  return node;
}

function draw() {
  const picked = (window.studioPicked || []).slice(0, MOST);
  const chips = picked.map((card) => chip(card.ask, card.name));
  root.replaceChildren(...(chips.length ? chips : props.samples.map((text) => chip(text, ''))));
}

root.setAttribute('role', 'group');
root.setAttribute('aria-label', 'Example questions');
draw();
document.addEventListener('studio:picked', draw);
watch(['samples'], draw);
