// Draws the parts of figures: small SVG pictures with their numbers as a table beside them, and
// tables that are pictures. Nothing is told by colour alone.
(function (S) {
  'use strict';
  if (S.drawPart) return;

  const WIDE = { width: 620, height: 236 };
  const NARROW = { width: 330, height: 208 };
  const DASHES = ['', '7 4', '2 3', '9 3 2 3', '14 4'];
  const SHAPES = ['circle', 'square', 'triangle', 'diamond'];
  const TRAIL = 6;

  /** A part as an element. `ui` remembers what a person has opened or set, by part. */
  S.drawPart = (state, part, ui) => {
    const label = part.label ? [S.el('h5', '', part.label)] : [];
    return S.el('div', `ps-part ps-part-${part.kind}`, ...label, ...drawn(state, part, ui));
  };

  // Whatever was in an artifact, the page stays: what cannot be drawn is told.
  function drawn(state, part, ui) {
    try {
      return DRAW[part.kind](state, part, ui);
    } catch {
      return [S.el('p', 'ps-empty', 'This cannot be drawn.')];
    }
  }

  const size = () => (globalThis.innerWidth < 700 ? NARROW : WIDE);
  const shown = (value, unit) => (unit === 'percent' ? S.parts.percent(value) : S.parts.number(value));
  const called = (state, name) => (state.models.has(name) ? S.nameOf(state, name) : name);

  /** Round numbers between two values, about `count` of them; whole ones if asked for. */
  S.ticks = (low, high, count, whole = false) => {
    const raw = (high - low) / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(raw));
    const round = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999);
    const step = whole ? Math.max(1, round) : round;
    const first = Math.ceil(low / step - 1e-9);
    const last = Math.floor(high / step + 1e-9);
    return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step);
  };

  // From values to places in the picture; a single value gets room around it.
  function scale(values, from, to, unit) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) {
      const room = Math.abs(low) / 10 || 0.5;
      [low, high] = [low - room, high + room];
    }
    if (unit === 'percent') [low, high] = [Math.max(0, low - 0.05), Math.min(1, high + 0.05)];
    const at = (value) => from + ((value - low) / (high - low)) * (to - from);
    return { low, high, at };
  }

  // Model series wear their author's colour; others the accent, each with its own dash and mark.
  const look = (state, name, index) => (
    state.models.has(name) ? S.author(state, name) : `ps-line-${index % 3}`
  );

  function chart(state, part, ui) {
    const { width, height } = size();
    const series = part.series.filter((one) => one.points.length);
    if (!series.length) return [S.el('p', 'ps-empty', 'Nothing to draw yet.')];
    const points = series.flatMap((one) => one.points);
    const bounds = series.flatMap((one) => (one.bounds || []).flat());
    const x = scale(points.map((p) => p[0]), 46, width - 14, '');
    const y = scale([...points.map((p) => p[1]), ...bounds], height - 34, 10, part.unit);
    const svg = picture(width, height, sentence(state, part, series));
    x.whole = points.every((p) => Number.isInteger(p[0]));
    svg.append(...grid(x, y, part, { width, height }));
    series.forEach((one, i) => svg.append(line(state, one, i, x, y, part.unit)));
    const keys = series.length > 1 ? [legend(state, series)] : [];
    return [svg, ...keys, numbers(ui, 'Numbers', () => chartTable(state, part, series))];
  }

  const picture = (width, height, label) => S.svg('svg', {
    class: 'ps-plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label,
  });

  // What the picture says, for whoever does not see it.
  function sentence(state, part, series) {
    const told = series.map(({ name, points }) => {
      const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
      return `${called(state, name)}: ${shown(y0, part.unit)} at ${S.parts.number(x0)}, ${
        shown(y1, part.unit)} at ${S.parts.number(x1)}`;
    });
    return `${part.label} over ${part.x}. ${told.join('. ')}.`;
  }

  function grid(x, y, part, { width, height }) {
    const made = [];
    for (const value of S.ticks(y.low, y.high, 4)) {
      const at = y.at(value);
      made.push(S.svg('line', { class: 'ps-grid', x1: 46, x2: width - 14, y1: at, y2: at }));
      made.push(word(shown(value, part.unit), 40, at + 4, 'end'));
    }
    for (const value of S.ticks(x.low, x.high, width < 400 ? 4 : 7, x.whole)) {
      made.push(word(S.parts.number(value), x.at(value), height - 18, 'middle'));
    }
    made.push(word(part.x, (46 + width - 14) / 2, height - 3, 'middle'));
    return made;
  }

  const word = (text, x, y, anchor) => (
    S.svg('text', { class: 'ps-axis', x, y, 'text-anchor': anchor }, text)
  );

  function line(state, one, index, x, y, unit) {
    const at = one.points.map(([px, py]) => [x.at(px), y.at(py)]);
    const group = S.svg('g', { class: `ps-series ${look(state, one.name, index)}` });
    const d = at.map(([px, py], i) => `${i ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join('');
    group.append(S.svg('path', { class: 'ps-curve', d, 'stroke-dasharray': DASHES[index % 5] }));
    // Intervals of several series stand side by side.
    const shift = (index % 5) * 4;
    (one.bounds || []).forEach(([low, high], i) => group.append(S.svg('line', {
      class: 'ps-whisker', x1: at[i][0] + shift, x2: at[i][0] + shift, y1: y.at(low), y2: y.at(high),
    })));
    if (at.length <= 40) {
      at.forEach((place, i) => {
        const told = `${called(state, one.name)}: ${shown(one.points[i][1], unit)} at ${
          S.parts.number(one.points[i][0])}`;
        group.append(dot(place, SHAPES[index % 4], 3.6, told));
      });
    }
    return group;
  }

  // A mark with its own shape and, under the pointer, its numbers.
  function dot([x, y], shape, r, told, cls = 'ps-dot') {
    const title = S.svg('title', {}, told);
    if (shape === 'circle') return S.svg('circle', { class: cls, cx: x, cy: y, r }, title);
    const corners = {
      square: [[-1, -1], [1, -1], [1, 1], [-1, 1]], triangle: [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]],
      diamond: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
    }[shape];
    const d = corners.map(([cx, cy]) => `${x + cx * r},${y + cy * r}`).join(' ');
    return S.svg('polygon', { class: cls, points: d }, title);
  }

  function legend(state, series) {
    return S.el('ul', 'ps-keys', ...series.map((one, i) => {
      const swatch = S.svg('svg', { class: 'ps-key', viewBox: '0 0 30 10', 'aria-hidden': 'true' },
        S.svg('path', { class: 'ps-curve', d: 'M1 5H29', 'stroke-dasharray': DASHES[i % 5] }),
        dot([15, 5], SHAPES[i % 4], 3, ''));
      return S.el('li', `ps-series ${look(state, one.name, i)}`, swatch, naming(state, one.name));
    }));
  }

  // The numbers behind a picture, folded away; they stay open while the picture moves on.
  function numbers(ui, label, build) {
    const node = S.el('details', 'ps-numbers', S.el('summary', '', label));
    const fill = () => { if (node.open && node.children.length === 1) node.append(build()); };
    node.open = Boolean(ui.open);
    fill();
    node.addEventListener('toggle', () => {
      ui.open = node.open;
      fill();
    });
    return node;
  }

  function chartTable(state, part, series) {
    const xs = [...new Set(series.flatMap((one) => one.points.map((p) => p[0])))]
      .sort((a, b) => a - b);
    const rows = xs.map((x) => [S.parts.number(x), ...series.map((one) => {
      const at = one.points.findLastIndex((p) => p[0] === x);
      if (at < 0) return '–';
      const bounds = one.bounds ? ` (${one.bounds[at].map((v) => shown(v, part.unit)).join(' to ')})` : '';
      return shown(one.points[at][1], part.unit) + bounds;
    })]);
    return grille(state, [part.x, ...series.map((one) => called(state, one.name))], rows);
  }

  /** A table that scrolls on its own where the page is too narrow for it. */
  function grille(state, columns, rows, more = '') {
    const head = S.el('tr', '', ...columns.map((name) => {
      const cell = S.el('th', '', naming(state, name));
      cell.scope = 'col';
      return cell;
    }));
    const body = rows.map((row) => S.el('tr', '', ...row.map((one) => {
      const cell = S.el('td', '', naming(state, one));
      cell.dir = 'auto';
      return cell;
    })));
    const table = S.el('table', 'ps-table', S.el('thead', '', head), S.el('tbody', '', ...body));
    return scroller(more ? [table, S.el('p', 'ps-note', more)] : [table]);
  }

  function scroller(children) {
    const node = S.el('div', 'ps-scroll', ...children);
    node.tabIndex = 0;
    node.setAttribute('role', 'region');
    node.setAttribute('aria-label', 'Table, scrolls sideways');
    return node;
  }

  // A model is told by its mark and name, anything else by its words.
  function naming(state, name) {
    if (!state.models.has(name)) return S.el('bdi', '', S.withNames(state, name));
    return S.el('span', 'ps-named', S.markOf(state, name), S.el('bdi', '', S.nameOf(state, name)));
  }

  function table(state, part) {
    const more = part.left ? `and ${S.count(part.left, 'more row')}` : '';
    return [grille(state, part.columns, part.rows, more)];
  }

  function intervals(state, part) {
    const at = (value) => `${(100 * (value - part.low)) / ((part.high - part.low) || 1)}%`;
    return [S.el('div', 'ps-ranges', ...part.rows.map((row) => range(state, part, row, at)))];
  }

  function range(state, part, row, at) {
    const track = S.el('span', 'ps-range-track');
    // Without an interval the bar is the value's own length.
    const [from, to] = row.low === null ? [part.low, row.value] : [row.low, row.high];
    const whisker = S.el('span', 'ps-range-bar');
    whisker.style.setProperty('--from', at(from));
    whisker.style.setProperty('--to', at(to));
    track.append(whisker);
    const mark = S.el('span', 'ps-range-dot');
    mark.style.setProperty('--at', at(row.value));
    track.append(mark);
    track.setAttribute('aria-hidden', 'true');
    const reach = row.low === null ? ''
      : ` (${shown(row.low, part.unit)} to ${shown(row.high, part.unit)})`;
    const own = state.models.has(row.name) ? S.author(state, row.name) : 'ps-vote';
    const node = S.el('div', `ps-range ${own}`, S.el('span', 'ps-range-name', naming(state, row.name)),
      track, S.el('span', 'ps-range-value', shown(row.value, part.unit), S.el('small', '', reach)));
    if (row.state) {
      const chip = S.el('span', 'ps-chip ps-verdict', row.state);
      chip.dataset.verdict = row.state;
      node.append(chip);
    }
    if (row.note) node.append(S.el('span', 'ps-range-note', row.note));
    if (row.state) node.dataset.verdict = row.state;
    return node;
  }

  function shares(state, part) {
    const bars = part.rows.map(([name, weight, share]) => {
      const label = S.el('bdi', 'ps-model-name', called(state, name));
      const bar = S.bar(label, state.models.has(name) ? S.author(state, name) : 'ps-vote');
      if (state.models.has(name)) bar.node.prepend(S.markOf(state, name));
      bar.set(share, `${S.parts.signed(weight)} · ${S.parts.percent(share)}`);
      if (weight < 0) bar.node.dataset.sign = 'minus';
      return bar.node;
    });
    return [S.el('div', 'ps-bars', ...bars)];
  }

  function badge(state, part) {
    return [S.el('p', 'ps-badges', ...part.options.map((option) => {
      const on = option === part.chosen;
      const chip = S.el('span', 'ps-chip ps-badge', on ? `✓ ${option}` : option);
      chip.dataset.chosen = String(on);
      return chip;
    }))];
  }

  function matrix(state, part) {
    const small = part.columns.length > 14;
    const corner = S.el('td', '');
    const heads = part.columns.map((name) => {
      const cell = S.el('th', '', state.models.has(name) ? S.markOf(state, name) : name);
      cell.scope = 'col';
      return cell;
    });
    const lines = part.rows.map((name, i) => {
      const head = S.el('th', '', naming(state, name));
      head.scope = 'row';
      return S.el('tr', '', head, ...part.cells[i].map((value, j) => tile(state, part, i, j, value)));
    });
    const node = S.el('table', 'ps-matrix', S.el('thead', '', S.el('tr', '', corner, ...heads)),
      S.el('tbody', '', ...lines));
    node.dataset.small = String(small);
    return [scroller([node])];
  }

  function tile(state, part, i, j, value) {
    const cell = S.el('td', 'ps-tile');
    if (value === null) {
      cell.dataset.empty = 'true';
      cell.append(S.el('span', 'ps-sr', i === j ? 'itself' : 'not known'));
      return cell;
    }
    const told = shown(value, part.unit).replace('\u202f%', '');
    cell.append(S.el('span', 'ps-tile-value', told));
    const middle = part.low < 0 ? 0 : part.low;
    const strength = Math.abs(value - middle) / (Math.max(Math.abs(part.high), Math.abs(part.low)) - middle || 1);
    cell.style.setProperty('--strength', `${Math.round(Math.min(1, strength) * 62)}%`);
    if (value < middle) cell.dataset.sign = 'minus';
    cell.title = `${called(state, part.rows[i])}, ${called(state, part.columns[j])}: ${shown(value, part.unit)}`;
    return cell;
  }

  function particles(state, part, ui) {
    const last = part.frames.length - 1;
    const at = Math.min(ui.at ?? last, last);
    const box = S.el('div', 'ps-swarm');
    const slider = S.el('input', 'ps-slider');
    Object.assign(slider, { type: 'range', min: '0', max: String(last), step: '1', value: String(at) });
    slider.setAttribute('aria-label', 'Iteration');
    const told = S.el('output', 'ps-note');
    const draw = (frame) => {
      box.replaceChildren(flight(state, part, frame));
      const scores = part.frames[frame].scores;
      S.setText(told, `Iteration ${frame + 1} of ${last + 1}: best ${
        S.parts.percent(Math.max(...scores))}, worst ${S.parts.percent(Math.min(...scores))}`);
      slider.setAttribute('aria-valuetext', told.textContent);
    };
    slider.addEventListener('input', () => {
      const frame = Number(slider.value);
      ui.at = frame === last ? undefined : frame;
      draw(frame);
    });
    draw(at);
    S.show(slider, last > 0);
    const build = () => grille(state, ['iteration', 'best', 'worst'], part.frames.map((one, i) => [
      String(i + 1), S.parts.percent(Math.max(...one.scores)), S.parts.percent(Math.min(...one.scores)),
    ]));
    const keyNote = key(part.landmarks.length);
    return [box, S.el('div', 'ps-slide', slider, told), keyNote, numbers(ui, 'Numbers', build)];
  }

  const key = (landmarks) => S.el('p', 'ps-note',
    `${landmarks ? 'Letters: the models themselves. ' : ''}Circles: particles, fuller the better `
    + 'they score, with the way they came. Ring: the best place so far.');

  function flight(state, part, frame) {
    const { width, height } = size();
    const tall = height * 1.3;
    const all = [...part.landmarks.map((one) => one.slice(1)),
      ...part.frames.flatMap((one) => [...one.points, ...(one.best ? [one.best] : [])])];
    const x = scale(all.map((p) => p[0]), 26, width - 26, '');
    const y = scale(all.map((p) => p[1]), tall - 20, 20, '');
    const now = part.frames[frame];
    const best = Math.max(...now.scores);
    const svg = picture(width, tall, `${part.label}, iteration ${frame + 1} of ${
      part.frames.length}: ${now.points.length} particles, best ${S.parts.percent(best)}.`);
    const put = ([px, py]) => [x.at(px), y.at(py)];
    for (const [name, ...place] of part.landmarks) svg.append(landmark(state, name, put(place)));
    now.points.forEach((point, i) => {
      const way = part.frames.slice(Math.max(0, frame - TRAIL), frame + 1)
        .map((one) => one.points[i]).filter(Boolean).map(put);
      if (way.length > 1 && part.frames.every((one) => one.points.length === now.points.length)) {
        svg.append(S.svg('polyline', { class: 'ps-trail', points: way.map((p) => p.join(',')).join(' ') }));
      }
      const body = dot(put(point), 'circle', 5, S.parts.percent(now.scores[i]), 'ps-particle');
      body.style.setProperty('--good', String(best > 0 ? now.scores[i] / best : 0));
      svg.append(body);
    });
    if (now.best) svg.append(dot(put(now.best), 'circle', 9, 'best place so far', 'ps-best'));
    return svg;
  }

  function landmark(state, name, [x, y]) {
    const mark = state.models.get(name)?.mark || '?';
    return S.svg('g', { class: `ps-landmark ${S.author(state, name)}` },
      S.svg('title', {}, S.nameOf(state, name)),
      S.svg('rect', { x: x - 12, y: y - 9, width: 24, height: 18, rx: 5 }),
      S.svg('text', { x, y: y + 4, 'text-anchor': 'middle' }, mark));
  }

  const DRAW = { chart, particles, matrix, intervals, shares, badge, table };
})(globalThis.Studio);
