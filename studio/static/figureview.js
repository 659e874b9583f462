// The figures of a run in the live area: cards that appear when there is something to show.
(function (S) {
  'use strict';
  if (S.figureCards) return;

  /** All figures; each card is drawn again only when its own data has changed. */
  S.figureCards = () => {
    const node = S.el('div', 'ps-views ps-figures');
    const cards = new Map();
    let before = [];
    return {
      node,
      update(state) {
        const now = sources(state);
        const same = now.length === before.length && now.every((one, i) => one === before[i]);
        before = now;
        if (same) return;
        const figures = S.figures(state);
        for (const { name } of figures) {
          if (!cards.has(name)) cards.set(name, card());
        }
        S.setChildren(node, figures.map((figure) => cards.get(figure.name).node));
        for (const figure of figures) cards.get(figure.name).update(state, figure);
        S.show(node, figures.length);
      },
    };
  };

  // What figures are made of: they can only have changed if one of these has.
  function sources(state) {
    const drawn = state.curves.flatMap(({ points }) => [points.length, ...(points.at(-1) || [])]);
    const wide = globalThis.innerWidth < 700;
    return [...state.artifacts.values(), state.decisions.length, wide, ...drawn];
  }

  function card() {
    const title = S.el('h4');
    const note = S.el('p', 'ps-note');
    const body = S.el('div', 'ps-parts');
    const node = S.el('section', 'ps-view ps-card ps-figure', title, note, body);
    const remembered = [];
    const draw = S.whenChanged((state, figure) => {
      S.setText(title, figure.title);
      S.setText(note, S.withNames(state, figure.note));
      S.show(note, figure.note);
      // Whoever is at a control of a figure stays there while it is drawn anew.
      const focus = [...body.querySelectorAll(FOCUS)].indexOf(document.activeElement);
      body.replaceChildren(...figure.parts.map((part, i) => {
        remembered[i] ||= {};
        return S.drawPart(state, part, remembered[i]);
      }));
      body.querySelectorAll(FOCUS)[focus]?.focus({ preventScroll: true });
    });
    return {
      node,
      update(state, figure) {
        S.setData(node, 'figure', figure.name);
        draw(JSON.stringify(figure) + (globalThis.innerWidth < 700), state, figure);
      },
    };
  }

  const FOCUS = 'summary, input, [tabindex]';
})(globalThis.Studio);
