"use strict";
// Curves by uPlot under one time scale; of many points those are drawn that a pixel can show.
const Charts = (() => {
  const MAX_POINTS = 4000, POINTS_PER_PX = 2, FONT = "11px system-ui, sans-serif", FEW = 60;
  const RESTARTS = new Set(["uart reset", "power off", "uart port_lost"]);
  const HEADROOM = 1.08, LIE = 20, NAME_PX = 20;  // a lane's name stands above its axis

  // The part of the series in view, thinned out. `breaks` says where a new download begins.
  function slice(view, room, times, series, breaks) {
    const from = Math.max(Data.lower(times, view[0]) - 1, 0);
    const to = Math.min(Data.lower(times, view[1]) + 1, times.length);
    const stride = Math.max(1, Math.ceil((to - from) / Math.min(MAX_POINTS, room * POINTS_PER_PX)));
    const out = [[], ...series.map(() => [])];
    const push = (t, values) => {
      out[0].push(t);
      values.forEach((value, s) => out[s + 1].push(value));
    };
    for (let i = from; i < to; i++) {
      const begins = breaks && breaks[i];
      if (stride > 1 && (i - from) % stride && !begins && i !== to - 1) continue;
      if (begins && i > from) push(times[i], series.map(() => null));
      push(times[i], series.map((values) => values[i]));
    }
    return out;
  }

  // One chart. `place` has the parent, y, width, gutter, height, colours and view().
  function plot(place, series, times, values, breaks, range, format, top = 6) {
    const holder = document.createElement("div");
    holder.className = "chart";
    holder.style.transform = `translateY(${place.y}px)`;
    place.parent.append(holder);
    const part = () => slice(place.view(), place.width - place.gutter, times, values, breaks);
    const made = new uPlot({
      width: place.width, height: place.height, padding: [top, 0, 4, 0],
      legend: { show: false }, cursor: { show: false }, select: { show: false },
      scales: { x: { time: false, auto: false, range: () => place.view() }, y: { range: () => range } },
      axes: [
        { show: false },
        {
          size: place.gutter, stroke: place.colours.soft, font: FONT, gap: 4, space: 28,
          grid: { stroke: place.colours.line, width: 1 }, ticks: { show: false },
          values: (u, splits) => splits.map(format),
        },
      ],
      series: [{}, ...series],
    }, part(), holder);
    return {
      update() {
        const [min, max] = place.view();
        made.setData(part(), false);
        made.setScale("x", { min, max });
      },
      end() {
        made.destroy();
        holder.remove();
      },
    };
  }

  // Bytes of the downloads: dashes for written, a filled line for acknowledged.
  function bytes(place, data) {
    const { place: at, download, written, acked, announced } = data.curve;
    const times = Float64Array.from(at, (i) => data.t[i]);
    const breaks = Uint8Array.from(at, (_, i) => (i > 0 && download[i] !== download[i - 1] ? 1 : 0));
    let top = 1, promised = 0;
    for (const count of written) top = Math.max(top, count);
    // A length that lies would press the curve flat.
    for (const count of announced) if (count !== null && count < top * LIE) promised = Math.max(promised, count);
    const high = Math.max(top, promised) * HEADROOM;
    const [unit, name] = high > 2e6 ? [1e6, " MB"] : [1e3, " kB"];
    const { soft, good } = place.colours;
    return plot(place, [
      { stroke: soft, width: 1, dash: [4, 3], points: { show: false } },
      { stroke: good, width: 2, fill: good + "22", points: { show: false } },
    ], times, [written, acked], breaks, [0, high], (value) => value / unit + name);
  }

  // Before which values the board was started again, or lost from sight: nothing joins them.
  function restarts(data, places) {
    const edges = [], ends = data.kinds.map(([source, kind]) => RESTARTS.has(`${source} ${kind}`));
    for (let i = 0; i < data.count; i++) if (ends[data.kindOf[i]]) edges.push(i);
    return Uint8Array.from(places, (place, i) => {
      const before = i ? places[i - 1] : place, first = Data.lower(edges, before + 1);
      for (let n = first; n < edges.length && edges[n] < place; n++) {
        if (data.board(edges[n]) === data.board(place)) return 1;
      }
      return 0;
    });
  }

  // Values without a neighbour: no line shows them.
  function lonely(values) {
    const found = [];
    values.forEach((value, i) => {
      if (value !== null && values[i - 1] == null && values[i + 1] == null) found.push(i);
    });
    return found;
  }

  // One metric that the firmware printed.
  function metric(place, data, it, colour) {
    const times = Float64Array.from(it.place, (i) => data.t[i]), values = Float64Array.from(it.value);
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const room = (high - low) * 0.15 || Math.abs(high) * 0.05 || 1;
    const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: high - low < 1 ? 3 : 1 });
    const format = it.unit === "B" ? (value) => `${plain.format(value / 1e3)} kB` : (value) => plain.format(value);
    const alone = (u, s, shown) => shown ? null : lonely(u.data[s]);
    const points = { show: values.length < FEW, size: 4, filter: alone };
    return plot(place, [{ stroke: colour, width: 1.5, points }], times, [values], restarts(data, it.place),
      [low - room, high + room], format, NAME_PX);
  }

  // What stands beside the lane's name; bytes have their unit on the axis.
  const unit = (it) => (it.unit === "B" ? "" : it.unit);

  return { bytes, metric, unit, slice, restarts, lonely };
})();
