// One live area: the head, the answer and the views that the run's protocol asks for.
(function (S) {
  'use strict';
  if (S.screen) return;

  const STREAMS = ['lanes', 'segments', 'dag'];

  /** Build the parts of a run's screen; `update(state)` paints what has changed. */
  S.screen = (controller) => {
    const node = S.el('div', 'ps-screen');
    const waiting = waitingCard(controller);
    const [head, failure, answer] = [S.header(controller), S.failure(), S.answer(controller)];
    const ways = S.ways(controller);
    const views = S.el('div', 'ps-views');
    const figures = S.figureCards();
    let made = null;
    node.append(waiting.node, head.node, failure.node, answer.node, ways.node, views, figures.node);
    return {
      node,
      update(state) {
        const begun = state.header !== null;
        waiting.update(begun);
        S.show(head.node, begun);
        ways.update(state);
        S.show(failure.node, begun && state.status === 'failed');
        const fits = begun && state.header.purpose === 'fit';
        S.show(answer.node, begun && !fits && (state.answer || state.status !== 'failed'));
        // A fit may call its models unseen; then there are no lanes to show.
        S.show(views, !fits || state.calls.size);
        if (!begun) return;
        if (!made) {
          made = (fits ? ['lanes'] : viewsOf(state)).map((name) => VIEWS[name](controller));
          views.append(...made.map((view) => view.node));
          if (fits) views.before(figures.node);
        }
        for (const part of [head, failure, answer, ...made, figures]) part.update(state);
      },
    };
  };

  function viewsOf(state) {
    const named = state.header.views.filter((name) => VIEWS[name]);
    return named.some((name) => STREAMS.includes(name)) ? named : [...named, 'lanes'];
  }

  const VIEWS = {
    lanes: (controller) => S.lanes(controller),
    segments: () => S.segments(),
    dag: () => S.dag(),
    routing: () => S.routing(),
    votes: () => S.votes(),
  };

  // What stands here while there is no run, while one waits for its turn, or when one is missing.
  function waitingCard(controller) {
    const title = S.el('h4');
    const text = S.el('p', 'ps-note');
    const bar = S.bar('', 'ps-progress');
    bar.node.dataset.open = 'true';
    bar.set(1, '');
    const leave = S.button('Leave the queue', 'ps-leave', () => controller.stop(''));
    const node = S.el('section', 'ps-card ps-waiting', title, text, bar.node, leave);
    node.setAttribute('role', 'status');
    return {
      node,
      update(begun) {
        const { notice, run: shown, queue, empty, expecting } = controller.situation();
        const run = shown || expecting;
        const busy = run || empty.busy === 'true';
        S.show(node, !begun || notice || expecting);
        S.show(bar.node, expecting || (busy && !begun && !notice));
        S.show(leave, queue > 0 && !begun && controller.mayLeave());
        S.setText(title, notice && !expecting ? 'This run cannot be shown' : headline(run, queue, empty));
        S.setText(text, (!expecting && notice) || explanation(run, queue, empty));
        S.setData(node, 'kind', notice && !expecting ? 'notice' : run ? 'starting' : 'empty');
      },
    };
  }

  function headline(run, queue, empty) {
    if (!run) return empty.title || 'Nothing is running yet';
    return queue > 0 ? `Waiting for a free place (number ${queue})` : 'Starting';
  }

  function explanation(run, queue, empty) {
    if (!run) {
      return empty.sentence
        || 'Pick models and a protocol, ask a question and press Run: the models work here.';
    }
    return queue > 0 ? 'The run begins by itself when the runs before it have ended.'
      : 'The models are being called.';
  }
})(globalThis.Studio);
