// Fills a live area once studio.js is there. Scope: element.
'use strict';
(function mount(tries) {
  const place = element.querySelector('.studio-mount');
  if (window.Studio && place) window.Studio.mount(place, place.dataset);
  else if (tries) setTimeout(() => mount(tries - 1), 50);
})(200);
