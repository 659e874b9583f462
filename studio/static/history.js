// The runs that this browser started, newest first, so that one finds them again and sees what
// other protocols said to the same question. They are kept here only; the server has no such list.
(function (S) {
  'use strict';
  if (S.history) return;

  const PLACE = 'studio:runs';
  const MOST = 60;
  const CLIP = { question: 400, answer: 400, title: 80, protocol: 80, run: 80, status: 20 };
  let unsaved = [];

  // What stands in a browser's storage may be anything.
  function whole(one) {
    return one && typeof one === 'object' && typeof one.run === 'string' && one.run
      && ['question', 'title', 'answer'].every((name) => typeof one[name] === 'string');
  }

  function list() {
    try {
      const held = JSON.parse(localStorage.getItem(PLACE) || '[]');
      return Array.isArray(held) ? held.filter(whole) : [];
    } catch {
      return unsaved;
    }
  }

  function save(runs) {
    unsaved = runs;
    try {
      localStorage.setItem(PLACE, JSON.stringify(runs));
    } catch {
      // No storage, or no room in it: the list lives as long as the page.
    }
    document.dispatchEvent(new Event('studio:runs'));
  }

  /** What a list shows of a run: its question, protocol, answer and cost. */
  function about(run, state) {
    const { tokens, calls } = state.totals;
    const told = {
      run,
      question: state.header?.question || '',
      protocol: state.header?.protocol || '',
      title: S.titleOf(state),
      answer: state.answer?.text || '',
      status: state.status,
    };
    for (const [name, most] of Object.entries(CLIP)) told[name] = S.clip(told[name], most);
    return { ...told, models: state.models.size, tokens, calls, t: state.t };
  }

  S.history = {
    list,
    about,
    add(run, state) {
      const others = list().filter((one) => one.run !== run);
      save([{ ...about(run, state), at: Date.now() }, ...others].slice(0, MOST));
    },
    clear() { save([]); },
  };
})(globalThis.Studio);
