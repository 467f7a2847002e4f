"use strict";
// One time line: lanes of stretches, ticks and labels on a canvas and in the DOM; bytes and metrics by uPlot.
const Timeline = (() => {
  const AXIS = 22, BAR = 15, ROW = 16, PAD = 5, MAX_BARS = 3, MAX_ROWS = 3, CHART = 110, METRIC = 64;
  const NARROW = 620, GUTTER = 104, GUTTER_NARROW = 66, MAX_POINTS = 4000, TICKS_PER_BUCKET = 2;
  const MIN_SPAN_S = 0.002, EDGE = 0.015, GAP = 4, CROWD = 120;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function create(root, data, lanes, hooks) {
    const pad = Math.max(data.end * EDGE, 0.05);
    const whole = [-pad, data.end + pad];
    let view = opening(), width = 0, gutter = GUTTER, colours = {}, wanted = false, hover = null, pinned = null;
    let band = null;

    // What came before the first operation is not what a reader looks for.
    function opening() {
      const first = data.spans.find(([lane, , , , tone]) => lanes[lane] === "Test" && tone === "plain");
      const from = first ? data.t[first[1]] - (data.end - data.t[first[1]]) * 0.08 : 0;
      return from > data.end * 0.2 ? [from, whole[1]] : [...whole];
    }
    const element = (tag, name, parent) => {
      const made = document.createElement(tag);
      made.className = name;
      parent.append(made);
      return made;
    };
    const line = element("div", "line", root);
    line.tabIndex = 0;
    line.setAttribute("role", "img");
    line.setAttribute("aria-label", "Time line. Plus and minus zoom, arrows move.");
    const canvas = element("canvas", "lanes", line);
    const pen = canvas.getContext("2d");
    const labelLayer = element("div", "labels", line);
    const cursor = element("div", "cursor", line);
    cursor.hidden = true;

    // What each lane holds. A lane without anything is left out.
    const places = lanes.map(() => []);
    for (let i = 0; i < data.count; i++) places[data.lane[i]].push(i);
    const labelled = lanes.map(() => []);
    const cited = new Set(data.cited.map((seq) => data.place.get(seq)));
    for (const [place, text, weight] of data.labels) {
      if (!text) continue;
      labelled[data.lane[place]].push({ place, t: data.t[place], text, weight: cited.has(place) ? 4 : weight });
    }
    const spans = lanes.map(() => []);
    for (const [lane, start, end, text, tone] of data.spans) {
      spans[lane].push({ a: data.t[start], b: end === null ? Infinity : data.t[end], text, tone, start });
    }
    const measured = new Map();
    const textWidth = (text, font) => {
      const key = font + text;
      if (!measured.has(key)) {
        pen.font = font;
        measured.set(key, Math.ceil(pen.measureText(text).width));
      }
      return measured.get(key);
    };
    const LABEL_FONT = "11px system-ui, sans-serif";

    const rows = [];
    lanes.forEach((name, lane) => {
      const curve = name === "Downloads" && data.curve.place.length > 0;
      if (!places[lane].length && !spans[lane].length) return;
      rows.push({
        name, lane, curve, times: Float64Array.from(places[lane], (i) => data.t[i]),
        labels: labelled[lane], labelTimes: Float64Array.from(labelled[lane], (one) => one.t),
        strong: labelled[lane].filter((one) => one.weight >= 3), bars: stack(spans[lane]), names: [],
      });
      if (curve) rows.at(-1).chart = CHART;
    });
    data.metrics.forEach((metric) => {
      rows.push({ name: metric.name, metric, lane: null, bars: { rows: 0, items: [] }, labels: [], strong: [], chart: METRIC });
    });
    for (const row of rows) {
      row.title = element("div", "name", line);
      row.title.textContent = row.name;
      const legend = row.curve ? ["━ acked", "┄ written"] : row.metric && row.metric.unit ? [row.metric.unit] : [];
      for (const text of legend) element("small", "", row.title).textContent = text;
    }

    function stack(items) {
      // Stretches that overlap in time stand below each other; those without room share the last row.
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

    function paint() {
      colours = { ink: css("--ink"), soft: css("--soft"), line: css("--line"), sheet: css("--sheet"), accent: css("--accent"), bad: css("--firmware"), good: css("--passed") };
      for (const row of rows) row.colour = row.metric ? css("--lane-cloud") : css("--lane-" + laneKey(row.name));
    }
    const laneKey = (name) => name.toLowerCase().split(",")[0];
    const x = (t) => gutter + ((t - view[0]) / (view[1] - view[0])) * (width - gutter);
    const time = (px) => view[0] + ((px - gutter) / (width - gutter)) * (view[1] - view[0]);

    function layout() {
      width = Math.max(line.clientWidth, 200);
      gutter = width < NARROW ? GUTTER_NARROW : GUTTER;
      let y = AXIS;
      for (const row of rows) {
        row.y = y;
        row.barsY = y + PAD;
        row.labelsY = row.barsY + row.bars.rows * BAR + (row.bars.rows ? 3 : 0);
        row.depth = row.labels.length ? rowsNeeded(row) : 0;
        row.ticksH = row.times && row.times.length ? 5 : 0;
        row.chartY = row.labelsY + row.depth * ROW + row.ticksH;
        row.height = Math.max(row.chartY - y + (row.chart || 0) + PAD, 26);
        row.title.style.transform = `translateY(${y}px)`;
        row.title.style.width = gutter + "px";
        y += row.height;
      }
      line.style.height = y + "px";
      labelLayer.style.left = gutter + "px";
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(y * ratio);
      canvas.style.width = width + "px";
      canvas.style.height = y + "px";
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      charts();
    }

    function rowsNeeded(row) {
      if (row.labels.length > CROWD) return MAX_ROWS;
      const kept = view;
      view = whole;
      const placed = place(row, MAX_ROWS);
      view = kept;
      return Math.max(1, ...placed.map((one) => one.row + 1));
    }

    // Labels stand right of their tick in the first row with room; strong ones choose first.
    function place(row, depth) {
      const used = Array.from({ length: depth }, () => []);
      const found = [];
      const right = width;
      const put = (one) => {
        const left = x(one.t), wide = textWidth(one.text, LABEL_FONT) + 8;
        const from = left + wide > right && left - wide > gutter ? left - wide : left;
        if (from + wide > right || from < gutter) return null;
        for (let at = 0; at < depth; at++) {
          if (used[at].every(([a, b]) => from >= b + GAP || from + wide <= a - GAP)) {
            used[at].push([from, from + wide]);
            found.push({ one, row: at, x: from, wide });
            return from + wide;
          }
        }
        return null;
      };
      let i = Data.lower(row.labelTimes, view[0]);
      const end = Data.lower(row.labelTimes, view[1]);
      // In a crowd labels are noise: what reasons rest on stays, the rest shows as ticks.
      const crowded = end - i > CROWD;
      for (const one of row.strong) {
        if (one.t < view[0] || one.t > view[1] || (crowded && one.weight < 4)) continue;
        put(one);
      }
      while (i < end && !crowded) {
        const one = row.labels[i];
        if (one.weight < 3) put(one);
        i++;
      }
      return found;
    }

    function draw() {
      wanted = false;
      pen.clearRect(0, 0, width, line.clientHeight);
      axis();
      if (band) {
        pen.fillStyle = colours.accent;
        pen.globalAlpha = 0.07;
        const from = clamp(x(band[0]), gutter, width), to = clamp(x(band[1]), gutter, width);
        pen.fillRect(from, AXIS, Math.max(to - from, 1), line.clientHeight - AXIS);
        pen.globalAlpha = 1;
      }
      const shown = [];
      for (const row of rows) {
        pen.fillStyle = colours.line;
        pen.fillRect(0, row.y, width, 1);
        bars(row);
        if (row.times) ticks(row);
        if (row.depth) for (const one of place(row, row.depth)) shown.push([row, one]);
      }
      labels(shown);
      for (const chart of plots) chart.update();
      mark();
    }

    function axis() {
      const span = view[1] - view[0];
      const rough = span / Math.max((width - gutter) / 90, 1);
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
      pen.font = LABEL_FONT;
      pen.textBaseline = "middle";
      const height = line.clientHeight;
      for (let n = Math.ceil(view[0] / step); n * step <= view[1]; n++) {
        const t = n * step, at = x(t);
        if (t < -step / 2 || at < gutter) continue;
        pen.fillStyle = colours.line;
        pen.globalAlpha = 0.6;
        pen.fillRect(Math.round(at), AXIS, 1, height - AXIS);
        pen.globalAlpha = 1;
        pen.fillStyle = colours.soft;
        const text = Data.seconds(t, step) + " s", wide = textWidth(text, LABEL_FONT);
        if (at + wide / 2 < width && at - wide / 2 > gutter - 8) pen.fillText(text, at - wide / 2, AXIS / 2);
      }
    }

    function bars(row) {
      pen.font = LABEL_FONT;
      pen.textBaseline = "middle";
      let last = -1;
      for (const one of row.bars.items) {
        if (one.b < view[0] || one.a > view[1]) continue;
        const from = clamp(x(one.a), gutter, width), to = clamp(x(Math.min(one.b, whole[1])), gutter, width);
        if (to <= last && to - from < 1 && row.bars.items.length > 500) continue;
        last = Math.ceil(to);
        const y = row.barsY + one.row * BAR, tone = one.tone === "bad" ? colours.bad : one.tone === "good" ? colours.good : one.tone === "off" ? colours.soft : row.colour;
        pen.fillStyle = tone;
        pen.globalAlpha = 0.2;
        pen.fillRect(from, y, Math.max(to - from - 1, 1), BAR - 2);
        pen.globalAlpha = 0.8;
        pen.fillRect(from, y, 1, BAR - 2);
        pen.globalAlpha = 1;
        const room = to - from - 8;
        const text = textWidth(one.text, LABEL_FONT) <= room ? one.text : "";
        if (text) {
          pen.fillStyle = colours.ink;
          pen.fillText(text, from + 5, y + BAR / 2 - 0.5);
        }
      }
    }

    function ticks(row) {
      const y = row.chartY - row.ticksH;
      pen.fillStyle = row.colour;
      let i = Data.lower(row.times, view[0]);
      const end = Data.lower(row.times, view[1]);
      while (i < end) {
        const at = Math.floor(x(row.times[i]));
        const next = Data.lower(row.times, time(at + 1), i + 1, end);
        pen.globalAlpha = clamp(0.35 + (next - i) / 20, 0.35, 1);
        if (at >= gutter) pen.fillRect(at, y, 1, row.ticksH);
        i = next;
      }
      pen.globalAlpha = 1;
    }

    const pool = [];
    function labels(shown) {
      while (pool.length < shown.length) {
        const made = element("button", "", labelLayer);
        made.type = "button";
        made.tabIndex = -1;
        made.addEventListener("click", (event) => {
          event.stopPropagation();
          hooks.select(made.place);
        });
        pool.push(made);
      }
      pool.forEach((made, i) => {
        const it = shown[i];
        made.hidden = !it;
        if (!it) return;
        const [row, { one, row: at, x: left, wide }] = it;
        const y = row.labelsY + at * ROW;
        if (made.place !== one.place || made.textContent !== one.text) {
          made.place = one.place;
          made.textContent = one.text;
          made.title = `${data.t[one.place].toFixed(3)} s  #${data.seq[one.place]}  ${data.text(one.place)}`;
          made.className = cited.has(one.place) ? "cited" : "";
        }
        made.style.setProperty("--c", one.weight === 3 ? "var(--firmware)" : "var(--ink)");
        made.style.transform = `translate(${left - gutter}px, ${y}px)`;
        made.style.width = wide + "px";
        pen.fillStyle = row.colour;
        pen.globalAlpha = 0.7;
        pen.fillRect(Math.round(x(one.t)), y, 1, row.chartY - y);
        pen.globalAlpha = 1;
      });
    }

    // Charts share the view; of many points those are drawn that a pixel can show.
    let plots = [];
    function charts() {
      for (const chart of plots) chart.end();
      plots = rows.filter((row) => row.chart).map((row) => (row.metric ? metricChart(row) : curveChart(row)));
    }

    function slice(times, series, breaks) {
      const from = Math.max(Data.lower(times, view[0]) - 1, 0), to = Math.min(Data.lower(times, view[1]) + 1, times.length);
      const stride = Math.max(1, Math.ceil((to - from) / Math.min(MAX_POINTS, (width - gutter) * TICKS_PER_BUCKET)));
      const out = [[], ...series.map(() => [])];
      for (let i = from; i < to; i++) {
        if (stride > 1 && (i - from) % stride && !(breaks && breaks[i]) && i !== to - 1) continue;
        if (breaks && breaks[i] && i > from) {
          out[0].push(times[i]);
          series.forEach((_, s) => out[s + 1].push(null));
        }
        out[0].push(times[i]);
        series.forEach((values, s) => out[s + 1].push(values[i]));
      }
      return out;
    }

    function plot(row, series, times, values, breaks, range, format) {
      const holder = element("div", "chart", line);
      holder.style.transform = `translateY(${row.chartY}px)`;
      const made = new uPlot({
        width, height: row.chart, legend: { show: false }, cursor: { show: false }, select: { show: false },
        padding: [6, 0, 4, 0],
        scales: { x: { time: false, auto: false, range: () => view }, y: { range } },
        axes: [
          { show: false },
          {
            size: gutter, stroke: colours.soft, font: "11px system-ui, sans-serif", gap: 4, space: 28,
            grid: { stroke: colours.line, width: 1 }, ticks: { show: false }, values: (u, splits) => splits.map(format),
          },
        ],
        series: [{}, ...series],
      }, slice(times, values, breaks), holder);
      return {
        update() {
          made.setData(slice(times, values, breaks), false);
          made.setScale("x", { min: view[0], max: view[1] });
        },
        end() {
          made.destroy();
          holder.remove();
        },
      };
    }

    function curveChart(row) {
      const { place, download, written, acked, announced } = data.curve;
      const times = Float64Array.from(place, (i) => data.t[i]);
      const breaks = Uint8Array.from(place, (_, i) => (i > 0 && download[i] !== download[i - 1] ? 1 : 0));
      let top = 1, promised = 0;
      for (const bytes of written) top = Math.max(top, bytes);
      // A length that lies would press the curve flat.
      for (const bytes of announced) if (bytes !== null && bytes < top * 20) promised = Math.max(promised, bytes);
      const high = Math.max(top, promised) * 1.08;
      const unit = high > 2e6 ? [1e6, " MB"] : [1e3, " kB"];
      return plot(row, [
        { stroke: colours.soft, width: 1, dash: [4, 3], points: { show: false } },
        { stroke: colours.good, width: 2, fill: colours.good + "22", points: { show: false } },
      ], times, [written, acked], breaks, () => [0, high], (value) => value / unit[0] + unit[1]);
    }

    function metricChart(row) {
      const times = Float64Array.from(row.metric.place, (i) => data.t[i]);
      const values = Float64Array.from(row.metric.value);
      let low = Infinity, high = -Infinity;
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const room = (high - low) * 0.15 || Math.abs(high) * 0.05 || 1;
      const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
      return plot(row, [{ stroke: row.colour, width: 1.5, points: { show: values.length < 60, size: 4 } }],
        times, [values], null, () => [low - room, high + room], (value) => short.format(value));
    }

    function mark() {
      const at = pinned ?? hover;
      const px = at === null ? -1 : x(at);
      cursor.hidden = at === null || px < gutter || px > width;
      cursor.classList.toggle("pinned", pinned !== null);
      cursor.style.transform = `translateX(${px}px)`;
    }

    function ask() {
      if (!wanted) {
        wanted = true;
        requestAnimationFrame(draw);
      }
    }

    function show(a, b) {
      const size = clamp(b - a, MIN_SPAN_S, whole[1] - whole[0]);
      const middle = (a + b) / 2;
      const from = clamp(middle - size / 2, whole[0], whole[1] - size);
      view = [from, from + size];
      ask();
    }
    function zoom(factor, about = (view[0] + view[1]) / 2) {
      const size = clamp((view[1] - view[0]) * factor, MIN_SPAN_S, whole[1] - whole[0]);
      const part = (about - view[0]) / (view[1] - view[0]);
      show(about - part * size, about - part * size + size);
    }
    function pan(part) {
      const by = (view[1] - view[0]) * part;
      show(view[0] + by, view[1] + by);
    }

    // Hands: wheel, drag, two fingers, double click.
    const pointers = new Map();
    let moved = 0;
    line.addEventListener("wheel", (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (!sideways && !event.ctrlKey && !event.metaKey && !line.contains(document.activeElement)) return;
      event.preventDefault();
      if (sideways) pan(event.deltaX / width);
      else zoom(Math.exp(clamp(event.deltaY, -200, 200) / 300), time(event.clientX - line.getBoundingClientRect().left));
    }, { passive: false });
    line.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      line.focus({ preventScroll: true });
      line.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event.clientX);
      moved = 0;
    });
    line.addEventListener("pointermove", (event) => {
      const left = line.getBoundingClientRect().left;
      if (pointers.has(event.pointerId)) {
        const before = [...pointers.values()];
        moved += Math.abs(event.clientX - pointers.get(event.pointerId));
        pointers.set(event.pointerId, event.clientX);
        const now = [...pointers.values()];
        if (now.length === 2) {
          zoom(clamp(Math.abs(before[0] - before[1]) / Math.max(Math.abs(now[0] - now[1]), 1), 0.5, 2), time((now[0] + now[1]) / 2 - left));
        } else if (moved > 3) {
          pan((before[0] - now[0]) / (width - gutter));
        }
        return;
      }
      if (event.pointerType === "touch" || event.clientX - left < gutter) return;
      hover = time(event.clientX - left);
      mark();
      hooks.hover(hover, pinned === null);
    });
    line.addEventListener("pointerup", (event) => {
      const was = pointers.delete(event.pointerId);
      if (!was || moved > 3) return;
      const at = time(event.clientX - line.getBoundingClientRect().left);
      hooks.pick(at, ((view[1] - view[0]) / (width - gutter)) * 4);
    });
    line.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    line.addEventListener("pointerleave", () => {
      hover = null;
      mark();
      hooks.hover(null, false);
    });
    line.addEventListener("dblclick", () => show(...whole));

    const watcher = new ResizeObserver(() => {
      if (line.clientWidth !== width) {
        layout();
        draw();
      }
    });
    paint();
    layout();
    draw();
    watcher.observe(line);

    return {
      zoom, pan, show, draw, whole,
      all: () => show(...whole),
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
        const size = view[1] - view[0];
        if (at < view[0] + size * 0.05 || at > view[1] - size * 0.15) show(at - size * 0.35, at + size * 0.65);
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
