// Example questions as buttons; the value is the one that was chosen, and the page puts it into the
// question without asking the server. Scope: element, props, trigger, watch.
'use strict';
const root = element.querySelector('.studio-examples') || element;

function chip(text) {
  const node = document.createElement('button');
  node.type = 'button';
  node.className = 'studio-example';
  node.textContent = text;
  node.dir = 'auto';
  node.addEventListener('click', () => {
    props.value = text;
    trigger('input');
  });
  return node;
}

function draw() {
  root.replaceChildren(...props.samples.map(chip));
}

root.setAttribute('role', 'group');
root.setAttribute('aria-label', 'Example questions');
draw();
watch(['samples'], draw);
