// One live area: the head, the answer and the views that the run's protocol asks for.
(function (S) {
  'use strict';
  if (S.screen) return;

  const STREAMS = ['lanes', 'segments', 'dag'];

  /** Build the parts of a run's screen; `update(state)` paints what has changed. */
  S.screen = (desk) => {
    const node = S.el('div', 'ps-screen');
    const waiting = waitingCard(desk);
    const fixed = [waiting, S.header(desk), S.failure(), S.answer(desk)];
    const views = S.el('div', 'ps-views');
    let made = null;
    node.append(...fixed.map((part) => part.node), views);
    return {
      node,
      update(state) {
        const begun = state.header !== null;
        made ||= begun ? viewsOf(state, desk) : null;
        if (made && !views.childNodes.length) views.append(...made.map((view) => view.node));
        fixed.forEach((part, i) => { if (i && begun) part.update(state); });
        if (!begun || state.status === 'failed') hideRest(fixed, begun);
        else fixed.slice(1).forEach((part) => keep(part, state));
        waiting.update(begun);
        for (const view of made || []) view.update(state);
      },
    };
  };

  // Before a run begins only the waiting card stands; a run that failed has no answer card.
  function hideRest(fixed, begun) {
    S.show(fixed[1].node, begun);
    S.show(fixed[2].node, begun);
    S.show(fixed[3].node, false);
  }

  function keep(part, state) {
    if (!part.node.classList.contains('ps-failure')) S.show(part.node, state.header);
  }

  function viewsOf(state, desk) {
    const named = state.header.views.filter((name) => VIEWS[name]);
    const names = named.some((name) => STREAMS.includes(name)) ? named : [...named, 'lanes'];
    return names.map((name) => VIEWS[name](desk));
  }

  const VIEWS = {
    lanes: (desk) => S.lanes(desk),
    segments: () => S.segments(),
    dag: () => S.dag(),
    routing: () => S.routing(),
    votes: () => S.votes(),
  };

  // What stands here while there is no run, while one waits for its turn, or when one is missing.
  function waitingCard(desk) {
    const title = S.el('h4');
    const text = S.el('p', 'ps-note');
    const bar = S.bar('', 'ps-progress');
    bar.node.dataset.open = 'true';
    bar.set(1, '');
    const node = S.el('section', 'ps-card ps-waiting', title, text, bar.node);
    node.setAttribute('role', 'status');
    return {
      node,
      update(begun) {
        const { notice, run, queue } = desk.situation();
        S.show(node, !begun || notice);
        S.show(bar.node, run && !begun && !notice);
        S.setText(title, notice ? 'This run cannot be shown' : headline(run, queue));
        S.setText(text, notice || explanation(run, queue));
        S.setData(node, 'kind', notice ? 'notice' : run ? 'starting' : 'empty');
      },
    };
  }

  function headline(run, queue) {
    if (!run) return 'Nothing is running yet';
    return queue > 0 ? `Waiting for a free place (number ${queue})` : 'Starting';
  }

  function explanation(run, queue) {
    if (!run) return 'Pick models and a protocol, ask a question and press Run: the models work here.';
    return queue > 0 ? 'The run begins by itself when the runs before it have ended.'
      : 'The models are being called.';
  }
})(globalThis.Studio);
