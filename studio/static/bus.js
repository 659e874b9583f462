// Hands bus messages to studio.js. Scope: props, watch, server.
'use strict';
(function connect(tries) {
  if (!window.Studio) {
    if (tries) setTimeout(() => connect(tries - 1), 50);
    return;
  }
  window.Studio.connect({
    resync: (asked) => server.resync(asked),
    cancel: (asked) => server.cancel(asked),
    load: (asked) => server.load_run(asked),
  });
  // On a narrow screen the stage lies below the form: an own new run brings it into view.
  const reveal = () => {
    const stage = document.querySelector('.studio-mount');
    if (stage && window.innerWidth < 1000) stage.scrollIntoView({ block: 'start' });
  };
  const take = () => {
    if (!props.value) return;
    const message = JSON.parse(props.value);
    window.Studio.feed(message);
    if (message.key) reveal();
  };
  watch('value', take);
  take();
})(200);
