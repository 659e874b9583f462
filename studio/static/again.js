// Lets the live area ask a run's question of another protocol, and the keyboard press Run.
// Scope: props, trigger.
'use strict';
(function connect(tries) {
  if (!window.Studio) {
    if (tries) setTimeout(() => connect(tries - 1), 50);
    return;
  }
  window.Studio.connect({
    again(run, protocol) {
      props.value = { run, protocol, at: Date.now() };
      trigger('input');
    },
  });
  const run = document.getElementById('run');
  run?.setAttribute('aria-keyshortcuts', 'Control+Enter Meta+Enter');
  run?.setAttribute('data-keys', /Mac|iP/.test(navigator.platform) ? '⌘ ⏎' : 'Ctrl ⏎');
  if (window.studioKeys) return;
  window.studioKeys = true;
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || event.repeat) return;
    event.preventDefault();
    // The box hands over what was typed a moment after the key.
    setTimeout(() => document.getElementById('run')?.click(), 60);
  });
})(200);
