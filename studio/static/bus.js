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
  const take = () => { if (props.value) window.Studio.feed(JSON.parse(props.value)); };
  watch('value', take);
  take();
})(200);
