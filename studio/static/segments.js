// The switch-generation view: one text whose pieces carry their authors.
(function (S) {
  'use strict';
  if (S.segments) return;

  const SEAM = /^(\s*)(\S{0,24})([^]*)$/;

  /** The shared text, its legend and the switcher's choice at every seam. */
  S.segments = () => {
    const legend = legendRow((model) => flow.focus(model));
    const detail = S.choicePanel();
    const flow = textFlow((state, index) => detail.open(state, index));
    const node = S.el('section', 'ps-view ps-card ps-view-segments',
      S.el('header', 'ps-view-head', S.el('h4', '', 'The shared text'), legend.node),
      flow.node, detail.node);
    return {
      node,
      update(state) {
        legend.update(state);
        flow.update(state);
        detail.update(state);
      },
    };
  };

  function legendRow(focus) {
    const node = S.el('div', 'ps-legend');
    const items = new Map();
    let kept = '';
    const add = (state, model) => {
      const share = S.el('strong');
      const item = S.button('', `ps-legend-item ${S.author(state, model)}`, () => {
        kept = kept === model ? '' : model;
        for (const [id, one] of items) one.item.setAttribute('aria-pressed', String(id === kept));
        focus(kept);
      });
      item.append(S.markOf(state, model), S.el('bdi', 'ps-model-name', S.nameOf(state, model)), share);
      item.setAttribute('aria-pressed', 'false');
      item.dataset.model = model;
      for (const name of ['pointerenter', 'focus']) item.addEventListener(name, () => focus(model));
      for (const name of ['pointerleave', 'blur']) item.addEventListener(name, () => focus(kept));
      items.set(model, { item, share });
      node.append(item);
    };
    return {
      node,
      update(state) {
        const letters = lettersByModel(state);
        const all = [...letters.values()].reduce((a, b) => a + b, 0) || 1;
        for (const [model, count] of letters) {
          if (!items.has(model)) add(state, model);
          S.setText(items.get(model).share, `${S.percent(count / all)} of the letters`);
        }
      },
    };
  }

  function lettersByModel(state) {
    const letters = new Map();
    for (const { model, text } of state.segments) {
      letters.set(model, (letters.get(model) || 0) + text.length);
    }
    return letters;
  }

  // The text itself. Committed pieces never change; what is being written hangs at the end.
  function textFlow(openChoice) {
    const node = S.el('div', 'ps-flow');
    node.dir = 'auto';
    const empty = S.el('span', 'ps-empty', 'Nothing is written yet.');
    const draft = S.el('span', 'ps-segment ps-draft');
    const draftText = document.createTextNode('');
    draft.append(draftText);
    const draftMark = S.el('span', 'ps-draft-mark');
    node.append(empty, draftMark, draft);
    let drawn = 0;
    const markDraft = S.whenChanged((state, call) => {
      const takesOver = call && state.segments.at(-1)?.model !== call.model;
      S.setChildren(draftMark, takesOver ? [S.markOf(state, call.model)] : []);
    });
    const focus = (model) => {
      S.setData(node, 'dim', String(Boolean(model)));
      for (const span of node.querySelectorAll('.ps-segment')) {
        span.classList.toggle('ps-on', span.dataset.model === model);
      }
    };
    node.addEventListener('pointerover', (event) => {
      focus(event.target.closest?.('.ps-segment')?.dataset.model || '');
    });
    node.addEventListener('pointerleave', () => focus(''));
    return {
      node,
      focus,
      update(state) {
        for (; drawn < state.segments.length; drawn += 1) {
          draftMark.before(...piece(state, drawn, openChoice));
        }
        const call = openCall(state);
        S.show(draft, call);
        if (call) {
          draft.className = `ps-segment ps-draft ${S.author(state, call.model)}`;
          S.setData(draft, 'model', call.model);
        }
        markDraft(call ? `${drawn}/${call.model}` : '', state, call);
        S.growText(draftText, call ? call.text : '');
        S.show(empty, !drawn && !call);
      },
    };
  }

  // The generating call whose text is not committed yet.
  function openCall(state) {
    const last = [...state.calls.values()].findLast((call) => call.mode === 'generate');
    if (!last || last.state === 'failed' || !last.text || S.ended(state)) return null;
    return state.segments.some((segment) => segment.call === last.id) ? null : last;
  }

  // White space before a seam stays with the text before it and the first word stays with the
  // seam, so that a mark and its text are never on different lines.
  function piece(state, index, openChoice) {
    const segment = state.segments[index];
    const changed = state.segments[index - 1]?.model !== segment.model;
    const span = S.el('span', `ps-segment ${S.author(state, segment.model)}`);
    span.dataset.model = segment.model;
    span.title = S.nameOf(state, segment.model);
    if (!changed && segment.decision === null) {
      span.append(segment.text);
      return [span];
    }
    const [, lead, word, rest] = segment.text.match(SEAM);
    const button = seam(state, segment, index, changed, openChoice);
    span.append(S.el('span', 'ps-hinge', button, word), rest);
    return [lead, span];
  }

  function seam(state, segment, index, changed, openChoice) {
    const name = S.nameOf(state, segment.model);
    const label = changed ? (state.models.get(segment.model)?.mark || '?') : '';
    const kind = changed ? 'ps-seam' : 'ps-seam ps-seam-kept';
    const node = S.button(label, `${kind} ${S.author(state, segment.model)}`, () => {
      openChoice(state, index);
    });
    const what = changed ? `${name} takes over` : `${name} goes on`;
    node.setAttribute('aria-label', `${what}; show the choice`);
    node.title = what;
    node.disabled = segment.decision === null;
    node.dataset.segment = String(index);
    return node;
  }

  /** What was weighed at a seam: bars by probability, the chosen one marked. */
  S.choicePanel = () => {
    const title = S.el('h5');
    const why = S.el('p', 'ps-note');
    const bars = S.el('div', 'ps-bars');
    const close = S.button('Close', 'ps-quiet', () => { shown = -1; S.show(node, false); });
    const node = S.el('aside', 'ps-choice', S.el('header', 'ps-choice-head', title, close), bars, why);
    node.hidden = true;
    node.setAttribute('aria-live', 'polite');
    let shown = -1;
    return {
      node,
      open(state, index) {
        const decision = state.decisions[state.segments[index].decision];
        if (!decision) return;
        shown = index;
        S.setText(title, `The choice before piece ${index + 1}`);
        S.setText(why, sentence(state, decision));
        bars.replaceChildren(...S.decisionBars(state, decision));
        S.show(node, true);
      },
      update(state) {
        if (shown >= state.segments.length) S.show(node, false);
      },
    };
  };

  function sentence(state, decision) {
    const by = decision.by ? `Weighed by ${S.nameOf(state, decision.by)}` : '';
    return [by, S.withNames(state, decision.why)].filter(Boolean).join(': ');
  }
})(globalThis.Studio);
