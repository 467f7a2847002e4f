"use strict";
// The page of a history: two charts, strips of results, a filter.
(() => {
  const HEIGHT = 190, MIN_WIDTH = 240, SECOND_MS = 1000;
  const data = JSON.parse(document.getElementById("data").textContent);
  const html = document.documentElement;
  html.classList.add("js");
  const colour = (name) => () => getComputedStyle(html).getPropertyValue(`--${name}`).trim();
  const utc = (seconds) => new Date(seconds * SECOND_MS).toISOString();
  const charts = [];

  function chart(id, series, format) {
    const holder = document.getElementById(id);
    if (!data.at.length) { holder.textContent = "Nothing to draw."; return; }
    const width = () => Math.max(holder.clientWidth, MIN_WIDTH);
    const axis = { stroke: colour("soft"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: colour("line"), width: 1 } };
    const made = new uPlot({
      width: width(), height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * SECOND_MS), "Etc/UTC"),
      scales: { y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, space: 64, values: (u, splits) => splits.map((at) => utc(at).slice(5, 10)) }, { ...axis, size: 52, values: (u, splits) => splits.map(format) }],
      cursor: { y: false },
      series: [
        { label: data.by, value: (u, at) => (at === null ? "–" : utc(at).slice(0, 10)) },
        ...series.map(([label, name]) => ({
          label, stroke: colour(name), width: 2, points: { show: data.at.length < 60, size: 5 },
          value: (u, value) => (value === null || value === undefined ? "–" : format(value)),
        })),
      ],
    }, [data.at, ...series.map(([, , values]) => values)], holder);
    charts.push(() => made.setSize({ width: width(), height: HEIGHT }));
  }

  const short = (value, unit) => `${Number(value.toFixed(value < 10 ? 1 : 0))} ${unit}`;
  chart("rates", [["firmware failures", "firmware", data.firmware], ["rack errors", "rig", data.rig]], (value) => short(value, "%"));
  chart("times", [["median", "accent", data.median]], (value) => short(value, "s"));
  const draw = () => charts.forEach((again) => again());
  addEventListener("resize", draw);

  // Each letter of a strip becomes a bar, which tells its word and time.
  for (const strip of document.querySelectorAll(".strip")) {
    const at = data.strips[strip.dataset.row] || [];
    const bars = [...strip.textContent.trim()].map((sign, place) => {
      const [word, told] = data.words[sign];
      const bar = document.createElement("i");
      bar.className = word;
      bar.title = place in at ? `${told}, ${utc(at[place]).replace("T", " ").slice(0, 16)} UTC` : told;
      return bar;
    });
    strip.setAttribute("role", "img");
    strip.setAttribute("aria-label", bars.map((bar) => bar.title).join("; "));
    strip.removeAttribute("title");
    strip.replaceChildren(...bars);
  }

  const find = document.getElementById("find"), rows = [...document.querySelectorAll("#rows tr")];
  const shown = document.getElementById("shown");
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    let many = 0;
    for (const row of rows) {
      row.hidden = !row.firstElementChild.textContent.toLowerCase().includes(wanted);
      many += row.hidden ? 0 : 1;
    }
    shown.textContent = wanted ? `${many} of ${rows.length}` : "";
  });

  const theme = Theme.create(draw);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === find) { if (event.key === "Escape") find.blur(); return; }
    if (event.key === "/") { event.preventDefault(); find.focus(); }
    if (event.key === "t") theme();
  });
  window.blynkOta = { ready: () => Promise.resolve() };
})();
