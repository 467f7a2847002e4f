"use strict";
// Where labels stand: none on another. The first row with room takes one; what matters most chooses first.
const Labels = (() => {
  const FONT = "11px system-ui, sans-serif", GAP = 4, CROWD = 120, PAD = 8;
  const widths = new Map();
  const pen = document.createElement("canvas").getContext("2d");

  function width(text) {
    if (!widths.has(text)) {
      pen.font = FONT;
      widths.set(text, Math.ceil(pen.measureText(text).width));
    }
    return widths.get(text);
  }

  // Labels of one lane: { t, text, weight, place } in the order of their time; weight 3 is bad news,
  // 4 what a reason rests on.
  function lane(items) {
    return {
      items,
      times: Float64Array.from(items, (one) => one.t),
      strong: items.filter((one) => one.weight >= 3),
      crowded: items.length > CROWD,
    };
  }

  // Labels that have room: { one, row, x, wide }. `scale` has x(t), view, left and right in pixels.
  function place(labels, scale, depth) {
    const used = Array.from({ length: depth }, () => []), found = [];
    const [from, to] = scale.view;

    function put(one) {
      const tick = scale.x(one.t), wide = width(one.text) + PAD;
      const turned = tick + wide > scale.right && tick - wide > scale.left;
      const x = turned ? tick - wide : tick;
      if (x + wide > scale.right || x < scale.left) return;
      const free = (row) => row.every(([a, b]) => x >= b + GAP || x + wide <= a - GAP);
      const row = used.findIndex(free);
      if (row < 0) return;
      used[row].push([x, x + wide]);
      found.push({ one, row, x, wide });
    }

    const first = Data.lower(labels.times, from), last = Data.lower(labels.times, to);
    // In a crowd labels are noise: what reasons rest on stays, the rest shows as ticks.
    const crowded = last - first > CROWD;
    for (const one of labels.strong) {
      if (one.t >= from && one.t <= to && (one.weight === 4 || !crowded)) put(one);
    }
    for (let i = first; i < last && !crowded; i++) if (labels.items[i].weight < 3) put(labels.items[i]);
    return found;
  }

  return { FONT, width, lane, place };
})();
