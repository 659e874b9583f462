/* Adds to the rating pages what forms alone cannot do: keys, timing, and saving that is tried again
   until the server has answered. A form is sent as it stands, with the nonce the server put into it,
   so sending it twice is the same as sending it once. */
(() => {
  'use strict';
  const IDLE_MS = 60000;
  const MAX_WAIT_MS = 30000;
  const PNG_SCALE = 2;
  const KEYS_OFF = 'rate-keys-off';
  const CHOICES = {
    ArrowLeft: 'left', ArrowRight: 'right', ArrowDown: 'tie_bad', '=': 'tie_good',
    1: 'left', 2: 'right', 3: 'tie_good', 4: 'tie_bad',
  };
  const ARROWS = ['ArrowLeft', 'ArrowRight', 'ArrowDown'];
  const status = document.getElementById('status');
  const spoken = document.getElementById('spoken');
  let saving = false;
  let wake = () => {};
  let watch = null;

  document.documentElement.classList.add('js');

  /* What was looked at, and for how long. Time counts while the tab is visible and, after the last
     sign of life, for a minute at most. Kept over a reload or a change of language. */
  class Watch {
    constructor(form) {
      this.form = form;
      this.key = `rate-watch ${form.dataset.ballot}`;
      const before = kept(this.key);
      this.visible = before.visible || 0;
      this.wall = before.wall || 0;
      this.seen = new Set(before.seen);
      this.ends = new Set(before.ends);
      this.began = this.mark = performance.now();
      this.input = 'unknown';
      this.nudged = false;
      this.eyes = new IntersectionObserver((rows) => this.look(rows));
      for (const pane of panes()) {
        this.eyes.observe(pane);
        this.eyes.observe(pane.querySelector('.end'));
      }
    }

    look(rows) {
      for (const row of rows.filter((one) => one.isIntersecting)) {
        const side = row.target.closest('[data-side]').dataset.side;
        (row.target.className === 'end' ? this.ends : this.seen).add(side);
      }
    }

    /* The observer may report late on a busy machine: what is on the screen now has been seen. */
    glance() {
      for (const pane of panes()) {
        const box = pane.getBoundingClientRect();
        if (box.bottom > 0 && box.top < window.innerHeight) this.seen.add(pane.dataset.side);
      }
    }

    alive(counts = document.visibilityState === 'visible') {
      const now = performance.now();
      if (counts) this.visible += Math.min(now - this.mark, IDLE_MS);
      this.mark = now;
    }

    fill(form) {
      this.alive();
      const [left, right] = panes().map((pane) => pane.getBoundingClientRect().top);
      const values = {
        visible_ms: Math.round(this.visible),
        wall_ms: Math.round(this.wall + performance.now() - this.began),
        scrolled_left: Number(this.ends.has('left')),
        scrolled_right: Number(this.ends.has('right')),
        input: this.input,
        layout: Math.abs(left - right) < 2 ? 'side' : 'stacked',
      };
      for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
    }

    keep() {
      this.alive();
      const wall = this.wall + performance.now() - this.began;
      remember(this.key, { visible: this.visible, wall, seen: [...this.seen], ends: [...this.ends] });
    }

    end(voted) {
      this.eyes.disconnect();
      if (voted) forget(this.key);
      else this.keep();
    }
  }

  function panes() {
    return [...document.querySelectorAll('#main [data-side]')];
  }

  function kept(key) {
    try { return JSON.parse(sessionStorage.getItem(key)) || {}; } catch { return {}; }
  }

  function remember(key, value) {
    try { sessionStorage.setItem(key, JSON.stringify(value)); } catch { /* It may be switched off. */ }
  }

  function forget(key) {
    try { sessionStorage.removeItem(key); } catch { /* It may be switched off. */ }
  }

  function say(text, kind) {
    status.textContent = text;
    status.dataset.kind = kind;
  }

  /* A new page has come, by loading or by saving. */
  function arrive() {
    const form = document.querySelector('[data-ballot]');
    watch = form ? new Watch(form) : null;
    // These two are checked here, in the page's own language.
    for (const one of document.querySelectorAll('[data-ballot], .skip form')) one.noValidate = true;
    const box = document.querySelector('[data-keys]');
    if (box) box.checked = keysOn();
    for (const one of document.querySelectorAll('[data-png]')) one.hidden = false;
  }

  /* The browser draws the picture itself: it has the fonts of every script. */
  function drawn(picture) {
    const canvas = document.createElement('canvas');
    canvas.width = PNG_SCALE * picture.naturalWidth;
    canvas.height = PNG_SCALE * picture.naturalHeight;
    canvas.getContext('2d').drawImage(picture, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => { canvas.toBlob(resolve, 'image/png'); });
  }

  async function download(name) {
    const picture = document.querySelector('[data-certificate]');
    await picture.decode();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await drawn(picture));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function keysOn() {
    try { return localStorage.getItem(KEYS_OFF) === null; } catch { return true; }
  }

  /* Saving. */
  async function save(form) {
    saving = true;
    const voting = Boolean(form.elements.ticket);
    if (watch && voting) watch.fill(form);
    const body = new URLSearchParams(new FormData(form));
    document.getElementById('main').setAttribute('aria-busy', 'true');
    say(status.dataset.saving, 'saving');
    const page = await sent(form.action, body);
    if (watch) watch.end(voting);
    saving = false;
    show(page);
  }

  /* The page that answers, however often it must be tried. */
  async function sent(address, body) {
    for (let tries = 0; ; tries += 1) {
      const page = await once(address, { method: 'POST', body });
      if (page.done) return page.done;
      say(status.dataset.unsaved, 'unsaved');
      const wait = Math.max(page.wait || 0, Math.min(MAX_WAIT_MS, 1000 * 2 ** tries));
      await pause(wait * (0.8 + 0.4 * Math.random()));
    }
  }

  async function once(address, how) {
    try {
      const answer = await fetch(address, { ...how, cache: 'no-store' });
      if (answer.status === 429 || answer.status >= 500) {
        return { wait: 1000 * Number(answer.headers.get('Retry-After') || 0) };
      }
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      return page.getElementById('main') ? { done: page } : {};
    } catch {
      return {};
    }
  }

  function pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => { clearTimeout(timer); resolve(); };
    });
  }

  function show(page) {
    const main = document.adoptNode(page.getElementById('main'));
    const word = page.getElementById('status');
    document.title = page.title;
    document.documentElement.lang = page.documentElement.lang;
    document.documentElement.dir = page.documentElement.dir;
    document.getElementById('main').replaceWith(main);
    // What stands below is another one at the end, and none where there is nothing to go on with.
    const foot = page.querySelector('.bottom');
    document.querySelector('.bottom')?.remove();
    if (foot) main.after(document.adoptNode(foot));
    say(word.textContent, word.dataset.kind || '');
    spoken.textContent = '';
    window.scrollTo(0, 0);
    main.querySelector('h1').focus({ preventScroll: true });
    arrive();
  }

  /* What keeps a form from being sent, as a key of the status line's words; '' for nothing. */
  function missing(form) {
    for (const [group, lack] of [['outcome', 'chooseFirst'], ['skip_reason', 'reasonFirst']]) {
      const radio = form.querySelector(`[name=${group}][type=radio]`);
      if (radio && !form.elements[group].value) {
        radio.focus();
        return lack;
      }
    }
    if (!watch || form !== watch.form) return '';
    watch.glance();
    if (watch.seen.size < 2 && !watch.nudged) {
      watch.nudged = true;
      return 'look';
    }
    return '';
  }

  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!form.matches('[data-save]')) {
      if (watch) watch.keep();
      return;
    }
    event.preventDefault();
    if (saving) return;
    const lack = missing(form);
    if (lack) say(status.dataset[lack], 'hint');
    else save(form);
  });

  document.addEventListener('click', async (event) => {
    const png = event.target.closest('[data-png]');
    if (png) {
      await download(png.dataset.png);
      return;
    }
    const link = event.target.closest('[data-go]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const page = await once(link.href, {});
    if (!page.done) {
      window.location.assign(link.href);
      return;
    }
    window.history.replaceState(null, '', link.href);
    show(page.done);
  });

  /* Keys. */
  function busyWithText(target) {
    return target.closest('textarea, select, [contenteditable]')
      || target.matches('input:not([type=radio], [type=checkbox])');
  }

  function choose(value) {
    const radio = watch.form.querySelector(`[name=outcome][value=${value}]`);
    radio.checked = true;
    // The mark on the choice is for eyes; this is for ears.
    spoken.textContent = radio.closest('label').querySelector('.choice-name').innerText;
  }

  function pressed(event) {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat) return;
    if (!watch || saving || busyWithText(target)) return;
    if (key === 'Enter') {
      if (target.closest('a, button, summary, input')) return;
      event.preventDefault();
      watch.form.requestSubmit();
    } else if (CHOICES[key] && keysOn()) {
      if (ARROWS.includes(key) && target.closest('input, .text, summary')) return;
      event.preventDefault();
      choose(CHOICES[key]);
    }
  }

  document.addEventListener('keydown', (event) => {
    // Enter held down must not press the next page's button.
    if (event.repeat && event.key === 'Enter' && !busyWithText(event.target)) event.preventDefault();
    note('keyboard');
    pressed(event);
  });

  function note(kind) {
    if (!watch) return;
    watch.alive();
    watch.input = kind;
  }

  document.addEventListener('pointerdown', (event) => {
    note(event.pointerType === 'mouse' ? 'mouse' : 'touch');
  });
  for (const sign of ['pointermove', 'scroll', 'wheel']) {
    document.addEventListener(sign, () => watch && watch.alive(), { passive: true, capture: true });
  }
  document.addEventListener('visibilitychange', () => {
    // What ends here was spent in the state before. A phone may close a hidden page unasked.
    const hidden = document.visibilityState === 'hidden';
    if (watch) watch.alive(hidden);
    if (watch && hidden && !saving) watch.keep();
  });
  document.addEventListener('change', (event) => {
    if (!event.target.matches('[data-keys]')) return;
    try {
      if (event.target.checked) localStorage.removeItem(KEYS_OFF);
      else localStorage.setItem(KEYS_OFF, '1');
    } catch { /* Storage may be switched off; the keys stay on. */ }
  });
  window.addEventListener('online', () => wake());
  window.addEventListener('pagehide', () => watch && !saving && watch.keep());
  window.addEventListener('beforeunload', (event) => { if (saving) event.preventDefault(); });

  arrive();
  if (status.textContent) document.querySelector('h1').focus({ preventScroll: true });
})();
