// Panes of growing text: one text node each, grown in place, painted only while in view.
(function (S) {
  'use strict';
  if (S.textPane) return;

  const STICKY = 28;
  const panes = new WeakMap();
  let observer = null;

  function watchVisibility(node, pane) {
    if (!globalThis.IntersectionObserver) return;
    observer ||= new IntersectionObserver((entries) => {
      for (const entry of entries) panes.get(entry.target)?.see(entry.isIntersecting);
    }, { rootMargin: '200px' });
    panes.set(node, pane);
    observer.observe(node);
  }

  /** Make a text node show `text`; growth is appended, so selection and layout survive. */
  S.growText = (node, text) => {
    const had = node.data;
    if (text === had) return false;
    if (text.length > had.length && text.startsWith(had)) node.appendData(text.slice(had.length));
    else node.data = text;
    return true;
  };

  /**
   * A scrolling pane: `show(text, streaming)`. It follows the end of the text unless the reader
   * scrolled away, and does no work while it streams out of sight.
   */
  S.textPane = (label) => {
    const node = S.el('div', 'ps-text');
    const text = document.createTextNode('');
    node.append(text);
    node.dir = 'auto';
    node.tabIndex = 0;
    node.setAttribute('role', 'group');
    node.setAttribute('aria-label', label);
    let stuck = true;
    let visible = true;
    let waiting = null;
    let growing = false;
    const paint = (value, streaming) => {
      waiting = null;
      const fresh = !text.data;
      if (fresh) stuck = true;
      // A text that comes whole is read from its beginning, one that grows is followed.
      const follow = S.growText(text, value) && stuck && (streaming || !fresh);
      if (follow) S.later(() => { node.scrollTop = node.scrollHeight; });
      // Once it is whole, whoever did not scroll reads it from its beginning.
      if (growing && !streaming && stuck) S.later(() => { node.scrollTop = 0; });
      growing = streaming;
    };
    node.addEventListener('scroll', () => {
      stuck = node.scrollHeight - node.scrollTop - node.clientHeight < STICKY;
    }, { passive: true });
    const pane = {
      node,
      show(value, streaming) {
        S.setData(node, 'streaming', String(Boolean(streaming)));
        if (streaming && !visible) waiting = value;
        else paint(value, streaming);
      },
      see(on) {
        visible = on;
        if (on && waiting !== null) {
          paint(waiting, true);
          S.flushLater();
        }
      },
    };
    watchVisibility(node, pane);
    return pane;
  };

  /** What a model was sent, folded away until somebody asks. Its text is set when it is opened. */
  S.promptBox = (name) => {
    const said = S.el('div', 'ps-prompt-text');
    const summary = S.el('summary', '', 'Prompt');
    summary.setAttribute('aria-label', `Prompt that ${name} was sent`);
    const node = S.el('details', 'ps-prompt', summary, said);
    let call = null;
    const fill = () => {
      if (!node.open || !call) return;
      const parts = [...call.messages, ...(call.prefix ? [{ role: 'answer so far', content: call.prefix }] : [])];
      said.replaceChildren(...parts.map((one) => S.el('section', '',
        S.el('h5', '', one.role), S.el('p', 'ps-prompt-said', one.content))));
    };
    node.addEventListener('toggle', fill);
    return {
      node,
      update(present) {
        const changed = present !== call;
        call = present;
        S.show(node, call?.messages.length);
        if (changed) fill();
      },
    };
  };

  /** Copy plain text; falls back to a selection where the clipboard is not to be had. */
  S.copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  };

  function copyBySelection(text) {
    const area = S.el('textarea', 'ps-sr');
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }

  /** A button that copies what `read()` gives and says so for a moment. */
  S.copyButton = (label, read) => {
    const node = S.button(label, 'ps-quiet', async () => {
      node.textContent = (await S.copy(read())) ? 'Copied' : 'Not copied';
      setTimeout(() => { node.textContent = label; }, 1500);
    });
    return node;
  };
})(globalThis.Studio);
