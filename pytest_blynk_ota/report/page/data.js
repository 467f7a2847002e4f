"use strict";
// The columns of one test, unpacked. No module: the page is one script.
const Data = (() => {
  const TICKS_PER_S = 10000;

  function sums(steps) {
    const values = new Float64Array(steps.length);
    let value = 0;
    for (let i = 0; i < steps.length; i++) values[i] = value += steps[i];
    return values;
  }

  async function raw(key) {
    const element = document.getElementById("data-" + key);
    if (element.dataset.form === "json") return JSON.parse(element.textContent);
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser cannot unpack it; use a newer one, or build the page with --plain");
    }
    const packed = atob(element.textContent);
    const bytes = new Uint8Array(packed.length);
    for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  // First place whose value is at least x.
  function lower(values, x, low = 0, high = values.length) {
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async function load(key) {
    const data = await raw(key);
    const count = data.ticks.length;
    const t = sums(data.ticks);
    for (let i = 0; i < count; i++) t[i] = (t[i] / TICKS_PER_S) * data.speed;
    const seq = sums(data.seq);
    const place = new Map();
    for (let i = count - 1; i >= 0; i--) place.set(seq[i], i);
    const lane = Uint8Array.from(data.kind, (kind) => data.kinds[kind][2]);
    const progress = data.progress;
    const at = sums(progress.place), written = sums(progress.written), acked = sums(progress.acked);
    const bad = new Set(data.bad), good = new Set(data.good);
    const wall = (i) => new Date((data.wall + t[i] / data.speed) * 1000).toISOString().replace("T", " ").replace("Z", " UTC");
    const said = new Map();
    at.forEach((where, i) => said.set(where, i));
    const text = (i) => {
      if (data.text[i] >= 0) return data.texts[data.text[i]];
      const row = said.get(i);
      return `connection ${progress.conns[progress.download[row]]}: ` +
        `${number(written[row])} bytes written, ${number(acked[row])} acknowledged`;
    };
    return {
      count, t, seq, place, lane, text,
      tone: (i) => (bad.has(i) ? "bad" : good.has(i) ? "good" : ""),
      wall: (i) => (data.wall === null ? "" : wall(i)),
      end: count ? t[count - 1] : 0,
      source: (i) => data.kinds[data.kind[i]][0],
      kind: (i) => data.kinds[data.kind[i]][1],
      kinds: data.kinds, kindOf: data.kind, textOf: data.text, texts: data.texts,
      board: (i) => data.boards[data.board[i]] || "",
      boards: data.boards.filter((name) => name !== null),
      labels: data.labels, spans: data.spans, metrics: data.metrics,
      cited: data.cited.filter((number) => place.has(number)),
      curve: { place: at, download: progress.download, written, acked, announced: progress.announced },
    };
  }

  function number(value) {
    return Math.round(value).toLocaleString("en-US");
  }

  function seconds(value, step) {
    const digits = step < 0.001 ? 4 : step < 0.01 ? 3 : step < 0.1 ? 2 : step < 1 ? 1 : 0;
    return value.toFixed(digits);
  }

  return { load, lower, number, seconds };
})();
