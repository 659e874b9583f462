// The twin of studio/figure_parts.py: the parts that figures are made of, and numbers in words.
// No DOM here; this file also runs in node.
(function (S) {
  'use strict';
  if (S.parts) return;

  const MOST_ROWS = 60;
  const MOST_CHARS = 160;
  const DASH = '–';

  const figure = (name, title, note, parts) => ({ name, title, note, parts });
  const series = (name, points, bounds = null) => ({ name, points, bounds });
  const chart = (label, x, y, lines, unit) => ({ kind: 'chart', label, x, y, series: lines, unit });
  const particles = (label, names, landmarks, frames) => ({
    kind: 'particles',
    label,
    landmarks: landmarks.length ? names.map((name, i) => [name, ...landmarks[i]]) : [],
    frames,
  });
  const matrix = (label, rows, columns, cells, low, high, unit) => (
    { kind: 'matrix', label, rows, columns, cells, low, high, unit }
  );
  const row = (name, value, low = null, high = null, state = '', note = '') => (
    { name, value, low, high, state, note }
  );
  const intervals = (label, rows, unit, low, high) => (
    { kind: 'intervals', label, rows, unit, low, high }
  );
  const badge = (options, chosen) => ({ kind: 'badge', options, chosen });

  function shares(label, weights) {
    const total = weights.reduce((sum, [, weight]) => sum + Math.abs(weight), 0) || 1;
    const ranked = weights.filter(([, weight]) => weight)
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    const rows = ranked.map(([name, weight]) => [name, weight, Math.abs(weight) / total]);
    return { kind: 'shares', label, rows };
  }

  function table(label, columns, rows) {
    const left = Math.max(0, rows.length - MOST_ROWS);
    const kept = rows.slice(0, MOST_ROWS).map((one) => one.map((cell) => clip(String(cell))));
    return { kind: 'table', label, columns, rows: kept, left };
  }

  const nests = (value) => value !== null && typeof value === 'object';
  const deep = (value) => !Array.isArray(value) || value.some(nests);

  /** Any JSON as readable tables: single values together, each list of records on its own. */
  function tables(data) {
    if (Array.isArray(data)) return [records('', data)];
    if (!nests(data)) return [table('', ['value'], [[told(data)]])];
    const entries = Object.entries(data);
    const inside = entries.filter(([, value]) => nests(value) && deep(value));
    const plain = entries.filter(([, value]) => !(nests(value) && deep(value)));
    const lines = (pairs) => pairs.map(([name, value]) => [words(name), told(value)]);
    const found = plain.length || !inside.length
      ? [table('', ['what', 'value'], lines(plain))] : [];
    for (const [name, value] of inside) {
      found.push(Array.isArray(value) ? records(words(name), value)
        : table(words(name), ['what', 'value'], lines(Object.entries(value))));
    }
    return found;
  }

  // A list as a table: records by their fields, anything else line by line.
  function records(label, rows) {
    const whole = rows.length && rows.every((one) => nests(one) && !Array.isArray(one));
    if (!whole) {
      return table(label, ['', 'value'], rows.map((one, i) => [String(i + 1), told(one)]));
    }
    const names = [...new Set(rows.flatMap((one) => Object.keys(one)))];
    const body = rows.map((one) => names.map(
      (name) => told(Object.hasOwn(one, name) ? one[name] : null),
    ));
    return table(label, names.map(words), body);
  }

  function told(value) {
    if (value === null || value === undefined || value === '') return DASH;
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    if (typeof value === 'number') return number(value);
    if (Array.isArray(value)) {
      return value.slice(0, 12).map(told).join(', ') + (value.length > 12 ? ' …' : '');
    }
    if (typeof value === 'object') {
      return Object.entries(value).map(([key, one]) => `${words(key)} ${told(one)}`).join(', ');
    }
    return String(value);
  }

  function number(value) {
    const size = Math.abs(value);
    const places = size >= 100 ? 0 : 3;
    const scale = 10 ** places;
    const rounded = Math.floor(size * scale + 0.5) / scale;
    if (size && !rounded) return '< 0.001';
    const text = rounded.toFixed(places);
    const short = places ? text.replace(/\.?0+$/, '') : text;
    return value < 0 ? `−${short}` : short;
  }

  const signed = (value) => (value < 0 ? number(value) : `+${number(value)}`);
  const percent = (share) => `${Math.floor(share * 100 + 0.5)}\u202f%`;
  const words = (name) => name.replaceAll('_', ' ');
  const heading = (name) => words(name).slice(0, 1).toUpperCase() + words(name).slice(1);
  function clip(text) {
    if (text.length <= MOST_CHARS) return text;
    const letters = Array.from(text);
    return letters.length <= MOST_CHARS ? text : `${letters.slice(0, MOST_CHARS - 1).join('')}…`;
  }

  S.parts = {
    figure, series, chart, particles, matrix, row, intervals, shares, badge, table, tables, told,
    number, signed, percent, words, heading,
  };
})(globalThis.Studio);
