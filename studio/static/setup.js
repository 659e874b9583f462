// On a narrow screen the protocol and the models fold away behind a button. Scope: element.
'use strict';
const button = element.querySelector('button');
button.addEventListener('click', () => {
  const open = button.getAttribute('aria-expanded') !== 'true';
  button.setAttribute('aria-expanded', String(open));
  document.getElementById('setup')?.classList.toggle('studio-open', open);
});
