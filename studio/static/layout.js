// The twin of studio/layout.py: a layered drawing of a directed acyclic graph. Keep the two alike,
// line by line; tests compare them on the same graphs. No DOM here.
(function (S) {
  'use strict';
  if (S.layout) return;

  const SWEEPS = 8;
  const SLOT_PASSES = 12;
  const DUMMY_GAP = 0.6;
  S.BOX = { WIDTH: 176, HEIGHT: 50, COLUMN: 232, ROW: 66, MARGIN: 10 };
  const { WIDTH, HEIGHT, COLUMN, ROW, MARGIN } = S.BOX;
  const copy = (layers) => layers.map((layer) => [...layer]);
  const lists = (count) => Array.from({ length: count }, () => []);

  /**
   * Lay out a graph: `{places: Map id -> [column, row], layers, routes, size}`.
   * Throws for a cycle or an edge to an unknown node.
   */
  S.layout = (nodes, edges) => {
    const index = new Map(nodes.map((node, number) => [node, number]));
    const pairs = edges.map(([a, b]) => [index.get(a), index.get(b)]);
    if (pairs.flat().includes(undefined)) throw new Error('edge to an unknown node');
    const { column, chains } = withDummies(columns(nodes.length, pairs), pairs);
    const { after, before } = neighbours(column.length, chains);
    const order = untangle(byColumn(column), before, after);
    const rows = slots(order, before, after, nodes.length);
    const points = column.map((x, n) => [x, rows[n]]);
    return {
      places: new Map(nodes.map((node, number) => [node, points[number]])),
      layers: order.map((layer) => layer.filter((n) => n < nodes.length).map((n) => nodes[n])),
      routes: chains.map((chain) => chain.map((n) => points[n])),
      size: size(order.length, rows),
    };
  };

  function size(layers, rows) {
    const wide = (Math.max(layers, 1) - 1) * COLUMN + WIDTH + 2 * MARGIN;
    return [wide, Math.max(0, ...rows) * ROW + HEIGHT + 2 * MARGIN];
  }

  function columns(count, pairs) {
    const waits = Array(count).fill(0);
    const next = lists(count);
    for (const [a, b] of pairs) {
      waits[b] += 1;
      next[a].push(b);
    }
    const column = Array(count).fill(0);
    let ready = [...waits.keys()].filter((n) => !waits[n]);
    let done = 0;
    for (let here = 0; ready.length; here += 1) {
      const following = [];
      for (const node of ready) {
        column[node] = here;
        done += 1;
        for (const other of next[node]) if (!(waits[other] -= 1)) following.push(other);
      }
      ready = following;
    }
    if (done < count) throw new Error('the graph has a cycle');
    return column;
  }

  function withDummies(given, pairs) {
    const column = [...given];
    const chains = pairs.map(([a, b]) => {
      const chain = [a];
      for (let crossed = column[a] + 1; crossed < column[b]; crossed += 1) {
        chain.push(column.length);
        column.push(crossed);
      }
      return [...chain, b];
    });
    return { column, chains };
  }

  function neighbours(count, chains) {
    const after = lists(count);
    const before = lists(count);
    for (const chain of chains) {
      for (let i = 1; i < chain.length; i += 1) {
        after[chain[i - 1]].push(chain[i]);
        before[chain[i]].push(chain[i - 1]);
      }
    }
    return { after, before };
  }

  function byColumn(column) {
    const layers = lists(Math.max(-1, ...column) + 1);
    column.forEach((here, node) => layers[here].push(node));
    return layers;
  }

  function untangle(layers, before, after) {
    let best = copy(layers);
    let fewest = crossings(layers, after);
    for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
      const forward = sweep % 2 === 0;
      for (let i = 1; i < layers.length; i += 1) {
        const turn = forward ? i : layers.length - 1 - i;
        const fixed = layers[forward ? turn - 1 : turn + 1];
        layers[turn] = sortedLayer(layers[turn], fixed, forward ? before : after);
      }
      const found = crossings(layers, after);
      if (found < fewest) [best, fewest] = [copy(layers), found];
    }
    return best;
  }

  function sortedLayer(layer, fixed, linked) {
    const place = new Map(fixed.map((node, position) => [node, position]));
    const keys = layer.map((node, position) => {
      const near = linked[node].map((other) => place.get(other));
      const mean = near.length ? near.reduce((a, b) => a + b, 0) / near.length : position;
      return [mean, position, node];
    });
    return keys.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((key) => key[2]);
  }

  function crossings(layers, after) {
    let total = 0;
    for (let i = 1; i < layers.length; i += 1) {
      const place = new Map(layers[i].map((node, position) => [node, position]));
      const ends = layers[i - 1].flatMap((node) => (
        after[node].map((other) => place.get(other)).sort((a, b) => a - b)
      ));
      ends.forEach((a, j) => { for (const b of ends.slice(j + 1)) if (a > b) total += 1; });
    }
    return total;
  }

  function slots(layers, before, after, real) {
    const rows = Array(layers.flat().length).fill(0);
    const place = (layer, values) => layer.forEach((node, i) => { rows[node] = values[i]; });
    for (const layer of layers) place(layer, offsets(layer, real));
    for (let turn = 0; turn < SLOT_PASSES; turn += 1) {
      for (const layer of turn % 2 === 0 ? layers : [...layers].reverse()) {
        const wanted = layer.map((node) => meanRow(node, before, after, rows));
        place(layer, spread(wanted, offsets(layer, real)));
      }
    }
    const top = rows.length ? Math.min(...rows) : 0;
    return rows.map((row) => row - top);
  }

  function offsets(layer, real) {
    let row = 0;
    return layer.map((node, position) => {
      if (position) row += node < real && layer[position - 1] < real ? 1 : DUMMY_GAP;
      return row;
    });
  }

  function meanRow(node, before, after, rows) {
    const near = [...before[node], ...after[node]];
    let total = 0;
    for (const other of near) total += rows[other];
    return near.length ? total / near.length : rows[node];
  }

  // Isotonic regression by pooling neighbours that would come too close.
  function spread(wanted, tight) {
    const pools = [];
    wanted.forEach((want, i) => {
      let [total, count] = [want - tight[i], 1];
      while (pools.length && pools.at(-1)[0] / pools.at(-1)[1] > total / count) {
        const last = pools.pop();
        [total, count] = [last[0] + total, last[1] + count];
      }
      pools.push([total, count]);
    });
    const fitted = pools.flatMap(([total, count]) => Array(count).fill(total / count));
    return fitted.map((fit, i) => fit + tight[i]);
  }

  /** The top left corner of a node's box in pixels. */
  S.box = ([column, row]) => [column * COLUMN + MARGIN, row * ROW + MARGIN];

  /** An edge as SVG path data: curves between columns, level where it passes one. */
  S.path = (route) => {
    const corners = route.map(S.box);
    let [x, y] = [corners[0][0] + WIDTH, corners[0][1] + HEIGHT / 2];
    let data = `M${fixed(x)} ${fixed(y)}`;
    corners.slice(1).forEach(([left, top], i) => {
      const end = top + HEIGHT / 2;
      const bend = fixed((x + left) / 2);
      data += `C${bend} ${fixed(y)} ${bend} ${fixed(end)} ${fixed(left)} ${fixed(end)}`;
      [x, y] = [left + WIDTH, end];
      if (i + 2 < corners.length) data += `H${fixed(x)}`;
    });
    return data;
  };

  const fixed = (value) => (Math.floor(value * 10 + 0.5) / 10).toFixed(1);
})(globalThis.Studio);
