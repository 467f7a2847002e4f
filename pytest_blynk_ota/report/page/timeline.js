"use strict";
// One time line: lanes of stretches and ticks on a canvas, labels in the DOM, curves by uPlot.
const Timeline = (() => {
  const AXIS = 22, BAR = 15, ROW = 16, PAD = 5, TICK = 5, MIN_LANE = 26, MAX_BARS = 3, MAX_ROWS = 3;
  const CHART = 110, METRIC = 74, LOW_PX = 1000, CHART_LOW = 74, METRIC_LOW = 50, CLOCK = "device time", NARROW = 620, GUTTER = 104, GUTTER_NARROW = 66;
  const MIN_SPAN_S = 0.002, EDGE = 0.015, AXIS_STEP_PX = 90, BEFORE = 0.08;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const laneKey = (name) => name.toLowerCase().split(",")[0];

  function element(tag, name, parent) {
    const made = document.createElement(tag);
    made.className = name;
    parent.append(made);
    return made;
  }

  // Stretches that overlap in time stand below each other; those without room share the last row.
  function stack(items) {
    const ends = [];
    for (const one of items) {
      let at = ends.findIndex((end) => end <= one.a);
      if (at < 0 && ends.length < MAX_BARS) at = ends.push(0) - 1;
      if (at < 0) at = MAX_BARS - 1;
      ends[at] = one.b;
      one.row = at;
    }
    return { rows: ends.length, items };
  }

  // What each lane holds; one without anything is left out. Each metric is a lane of its own.
  function rowsOf(data, lanes, cited) {
    const places = lanes.map(() => []), labels = lanes.map(() => []), spans = lanes.map(() => []);
    for (let i = 0; i < data.count; i++) places[data.lane[i]].push(i);
    for (const [place, text, weight] of data.labels) {
      if (text) labels[data.lane[place]].push({ place, t: data.t[place], text, weight: cited.has(place) ? 4 : weight });
    }
    for (const [lane, start, end, text, tone] of data.spans) {
      spans[lane].push({ a: data.t[start], b: data.t[end ?? data.count - 1], text, tone });
    }
    const rows = lanes.map((name, lane) => ({
      name,
      curve: name === "Downloads" && data.curve.place.length > 0,
      times: Float64Array.from(places[lane], (i) => data.t[i]),
      labels: Labels.lane(labels[lane]),
      bars: stack(spans[lane]),
    })).filter((row) => row.times.length || row.bars.items.length);
    const none = { times: new Float64Array(0), labels: Labels.lane([]), bars: stack([]) };
    return [...rows, ...data.metrics.map((metric) => ({ name: metric.name, metric, ...none }))];
  }

  // What came before the first operation is not what a reader looks for.
  function opening(data, lanes, whole) {
    const first = data.spans.find(([lane, , , , tone]) => lanes[lane] === "Test" && tone === "plain");
    const from = first ? data.t[first[1]] - (data.end - data.t[first[1]]) * BEFORE : 0;
    return from > data.end * 0.2 ? [from, whole[1]] : [...whole];
  }

  // Below a low window's chart the log has to have room.
  function chartHeight(row) {
    const low = innerHeight < LOW_PX;
    return row.curve ? (low ? CHART_LOW : CHART) : row.metric ? (low ? METRIC_LOW : METRIC) : 0;
  }

  // Whether a lane holds nothing from a time on.
  function isOver(row, data, from) {
    const last = row.metric ? data.t[row.metric.place.at(-1)] : row.times.at(-1) ?? -Infinity;
    return last < from && row.bars.items.every((one) => one.b < from);
  }

  function title(row, parent) {
    const made = element("div", "name", parent);
    made.textContent = row.name;
    const legend = row.curve ? ["━ acked", "┄ written"] : row.metric && Charts.unit(row.metric) ? [Charts.unit(row.metric)] : [];
    for (const text of legend) element("small", "", made).textContent = text;
    return made;
  }

  function create(root, data, lanes, decided, hooks) {
    const edge = Math.max(data.end * EDGE, 0.05), whole = [-edge, data.end + edge];
    const opened = opening(data, lanes, whole);
    let view = [...opened], early = false, width = 0, height = 0, gutter = GUTTER;
    let colours = {}, wanted = false, hover = null, pinned = null, band = null, plots = [];

    const line = element("div", "line", root);
    line.tabIndex = 0;
    line.setAttribute("role", "img");
    line.setAttribute("aria-label", "Time line. Plus and minus zoom, arrows move.");
    const clock = element("canvas", "axis", line), top = clock.getContext("2d");
    const canvas = element("canvas", "lanes", line), pen = canvas.getContext("2d");
    const layer = element("div", "labels", line), cursor = element("div", "cursor", line);
    const cited = new Set(data.cited.map((seq) => data.place.get(seq)));
    const rows = rowsOf(data, lanes, cited), pool = [];
    for (const row of rows) row.title = title(row, line);

    const x = (t) => gutter + ((t - view[0]) / (view[1] - view[0])) * (width - gutter);
    const time = (px) => view[0] + ((px - gutter) / (width - gutter)) * (view[1] - view[0]);
    const scale = () => ({ x, view, left: gutter, right: width });

    function paint() {
      colours = {
        ink: css("--ink"), soft: css("--soft"), line: css("--line"), accent: css("--accent"),
        bad: css("--firmware"), good: css("--passed"),
      };
      for (const row of rows) row.colour = row.metric ? css("--lane-cloud") : css("--lane-" + laneKey(row.name));
    }

    function depthOf(row) {
      if (!row.labels.items.length) return 0;
      if (row.labels.crowded) return MAX_ROWS;
      const kept = view;
      view = whole;  // nowhere do they stand closer
      const placed = Labels.place(row.labels, scale(), MAX_ROWS);
      view = kept;
      return Math.max(1, ...placed.map((one) => one.row + 1));
    }

    function layout() {
      width = Math.max(line.clientWidth, 200);
      gutter = width < NARROW ? GUTTER_NARROW : GUTTER;
      let y = AXIS;
      for (const row of rows) {
        // Lanes that ended before the view opened stand there once a reader looks so far back.
        row.title.hidden = row.off = !early && isOver(row, data, opened[0]);
        if (row.off) continue;
        row.chart = chartHeight(row);
        row.y = y;
        row.barsY = y + PAD;
        row.labelsY = row.barsY + row.bars.rows * BAR + (row.bars.rows ? 3 : 0);
        row.depth = depthOf(row);
        row.ticksY = row.labelsY + row.depth * ROW;
        row.chartY = row.ticksY + (row.times.length ? TICK : 0);
        row.title.style.transform = `translateY(${y}px)`;
        row.title.style.width = gutter + "px";
        y += Math.max(row.chartY - y + row.chart + PAD, MIN_LANE);
      }
      height = y;
      size();
      charts();
    }

    function size() {
      const ratio = window.devicePixelRatio || 1;
      line.style.height = height + "px";
      layer.style.left = gutter + "px";
      for (const [one, ink, high] of [[canvas, pen, height], [clock, top, AXIS]]) {
        one.width = Math.round(width * ratio);
        one.height = Math.round(high * ratio);
        one.style.width = width + "px";
        one.style.height = high + "px";
        ink.setTransform(ratio, 0, 0, ratio, 0, 0);
      }
    }

    function charts() {
      for (const chart of plots) chart.end();
      plots = rows.filter((row) => row.chart && !row.off).map((row) => {
        const place = { parent: line, y: row.chartY, width, gutter, height: row.chart, colours, view: () => view };
        return row.metric ? Charts.metric(place, data, row.metric, row.colour) : Charts.bytes(place, data);
      });
    }

    function draw() {
      wanted = false;
      if (!early && view[0] < opened[0]) {
        early = true;
        layout();
      }
      pen.clearRect(0, 0, width, height);
      top.clearRect(0, 0, width, AXIS);
      top.font = pen.font = Labels.FONT;
      top.textBaseline = pen.textBaseline = "middle";
      top.fillStyle = colours.soft;
      top.fillText(CLOCK, PAD, AXIS / 2);
      axis();
      if (band) fill(colours.accent, 0.07, x(band[0]), AXIS, x(band[1]), height - AXIS);
      const shown = [];
      for (const row of rows.filter((one) => !one.off)) {
        fill(colours.line, 1, 0, row.y, width, 1, 0);
        bars(row);
        ticks(row);
        if (row.depth) for (const one of Labels.place(row.labels, scale(), row.depth)) shown.push([row, one]);
      }
      labels(shown);
      for (const chart of plots) chart.update();
      mark();
    }

    // A box from one x to another, cut at the edges of the lanes; at least a pixel wide.
    function fill(colour, alpha, from, y, to, high, low = gutter) {
      const a = clamp(from, low, width), b = clamp(to, low, width);
      pen.fillStyle = colour;
      pen.globalAlpha = alpha;
      pen.fillRect(a, y, Math.max(b - a, 1), high);
      pen.globalAlpha = 1;
    }

    function axis() {
      const rough = (view[1] - view[0]) / Math.max((width - gutter) / AXIS_STEP_PX, 1);
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
      for (let n = Math.max(Math.ceil(view[0] / step), 0); n * step <= view[1]; n++) {
        const at = Math.round(x(n * step));
        if (at < gutter) continue;
        fill(colours.line, 0.6, at, AXIS, at, height - AXIS);
        const text = Data.seconds(n * step, step) + " s", half = Labels.width(text) / 2;
        if (at + half < width && at - half > Math.max(gutter - PAD, Labels.width(CLOCK) + 2 * PAD)) top.fillText(text, at - half, AXIS / 2);
      }
    }

    const tones = () => ({ bad: colours.bad, good: colours.good, off: colours.soft });
    function bars(row) {
      const tone = tones();
      let last = -1;
      for (const one of row.bars.items) {
        if (one.b < view[0] || one.a > view[1]) continue;
        const from = clamp(x(one.a), gutter, width), to = clamp(x(one.b), gutter, width);
        if (to <= last && to - from < 1) continue;  // in this pixel one stands already
        last = Math.ceil(to);
        const y = row.barsY + one.row * BAR, colour = tone[one.tone] || row.colour;
        fill(colour, 0.2, from, y, to - 1, BAR - 2);
        fill(colour, 0.8, from, y, from, BAR - 2);
        if (Labels.width(one.text) > to - from - PAD) continue;
        pen.fillStyle = colours.ink;
        pen.fillText(one.text, from + PAD, y + BAR / 2 - 0.5);
      }
    }

    // One tick a pixel, the darker the more events stand in it: as many steps as pixels, however many events.
    function ticks(row) {
      const end = Data.lower(row.times, view[1]);
      for (let i = Data.lower(row.times, view[0]); i < end;) {
        const at = Math.floor(x(row.times[i]));
        const next = Data.lower(row.times, time(at + 1), i + 1, end);
        if (at >= gutter) fill(row.colour, clamp(0.35 + (next - i) / 20, 0, 1), at, row.ticksY, at, TICK);
        i = next;
      }
    }

    function button() {
      const made = element("button", "", layer);
      made.type = "button";
      made.tabIndex = -1;
      made.addEventListener("click", (event) => {
        event.stopPropagation();
        hooks.select(made.place);
      });
      return made;
    }

    function labels(shown) {
      while (pool.length < shown.length) pool.push(button());
      pool.forEach((made, i) => {
        made.hidden = i >= shown.length;
        if (!made.hidden) label(made, ...shown[i]);
      });
    }

    function label(made, row, { one, row: at, x: left, wide }) {
      const y = row.labelsY + at * ROW, tick = Math.round(x(one.t));
      if (made.place !== one.place) {
        made.place = one.place;
        made.textContent = one.text;
        made.title = `${data.t[one.place].toFixed(3)} s device time  #${data.seq[one.place]}  ${data.text(one.place)}`;
        made.className = (one.weight === 4 ? "cited " : "") + data.tone(one.place) + (one.place === decided ? " decided" : "");
      }
      made.style.transform = `translate(${left - gutter}px, ${y}px)`;
      made.style.width = wide + "px";
      fill(row.colour, 0.7, tick, y, tick, row.chartY - y);
    }

    function mark() {
      const at = pinned ?? hover, px = at === null ? -1 : x(at);
      cursor.hidden = px < gutter || px > width;
      cursor.classList.toggle("pinned", pinned !== null);
      cursor.style.transform = `translateX(${px}px)`;
    }

    function ask() {
      if (!wanted) requestAnimationFrame(draw);
      wanted = true;
    }

    function show(a, b) {
      const span = clamp(b - a, MIN_SPAN_S, whole[1] - whole[0]);
      const from = clamp((a + b - span) / 2, whole[0], whole[1] - span);
      view = [from, from + span];
      ask();
    }
    function zoom(factor, about = (view[0] + view[1]) / 2) {
      const span = clamp((view[1] - view[0]) * factor, MIN_SPAN_S, whole[1] - whole[0]);
      const from = about - ((about - view[0]) / (view[1] - view[0])) * span;
      show(from, from + span);
    }
    function pan(part) {
      const by = (view[1] - view[0]) * part;
      show(view[0] + by, view[1] + by);
    }
    const all = () => show(...whole);

    Hands.listen(line, { time, gutter: () => gutter, room: () => width - gutter, zoom, pan, all }, {
      pick: hooks.pick,
      hover(t) {
        hover = t;
        mark();
        hooks.hover(t, pinned === null);
      },
    });
    const watcher = new ResizeObserver(() => {
      if (line.clientWidth === width) return;
      layout();
      draw();
    });
    paint();
    layout();
    draw();
    watcher.observe(line);

    return {
      zoom, pan, show, draw, whole, all,
      view: () => [...view],
      restyle() {
        paint();
        charts();
        draw();
      },
      pin(at) {
        pinned = at;
        mark();
      },
      reveal(at) {
        const span = view[1] - view[0];
        if (at < view[0] + span * 0.05 || at > view[1] - span * 0.15) show(at - span * 0.35, at + span * 0.65);
        else ask();
      },
      band(a, b) {
        band = b - a < (whole[1] - whole[0]) * 0.98 ? [a, b] : null;
        ask();
      },
      end() {
        watcher.disconnect();
        for (const chart of plots) chart.end();
        line.remove();
      },
    };
  }

  return { create };
})();
