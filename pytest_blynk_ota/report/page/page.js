"use strict";
// The page: one test at a time by its hash (#t3, #t3/108), keys, theme, copying, printing.
(() => {
  const html = document.documentElement;
  const lanes = JSON.parse(document.getElementById("index").textContent).lanes;
  const LOOK_S = 1.5, READ_CHARS = 300, HEAD_PX = 56, EDGE_PX = 8;
  html.classList.add("js");
  const open = (key) => { location.hash = key; };
  const table = Table.create(open);
  let shown = null, scrolled = 0, asked = 0;

  const laneName = (lane) => lanes[lane].toLowerCase().split(",")[0];
  const colour = (lane) => `var(--lane-${laneName(lane)})`;
  const make = (tag, text, parent, more = {}) => {
    const made = Object.assign(document.createElement(tag), { textContent: text }, more);
    parent.append(made);
    return made;
  };

  async function route() {
    const [key, event] = location.hash.slice(1).split("/");
    const article = /^t\d+$/.test(key) ? document.getElementById(key) : null;
    if (!article) return all();
    if (!shown || shown.article !== article) {
      if (!shown) scrolled = scrollY;
      close();
      article.classList.add("shown");
      html.classList.add("one");
      table.select(key);
      document.activeElement.blur();
      scrollTo(0, 0);
      shown = { key, article };
      shown.ready = stage(shown);
    }
    const it = shown, ticket = ++asked;
    await it.ready;
    if (shown !== it || ticket !== asked) return;
    if (event && it.look) it.look(Number(event));
  }

  function all() {
    if (!shown) return;
    const { key } = shown;
    close();
    html.classList.remove("one");
    scrollTo(0, scrolled);
    table.select(key);
  }

  function close() {
    if (!shown) return;
    shown.article.classList.remove("shown");
    if (shown.end) shown.end();
    shown = null;
  }

  async function stage(it) {
    const section = it.article.querySelector(".evidence");
    if (!section) return;
    section.hidden = false;
    const root = section.querySelector(".stage");
    root.replaceChildren();
    let data;
    try {
      data = await Data.load(it.key);
    } catch (error) {
      make("p", `The events cannot be shown: ${error.message}. The folder of the test holds them all.`, root, { className: "trouble" });
      return;
    }
    if (shown !== it) return;
    draw(it, root, data);
  }

  function draw(it, root, data) {
    const tools = make("div", "", root, { className: "tools" });
    const button = (text, title, act) => make("button", text, tools, { type: "button", title }).addEventListener("click", act);
    button("+", "Zoom in (+)", () => line.zoom(0.5));
    button("−", "Zoom out (-)", () => line.zoom(2));
    button("All", "Show all (0)", () => line.all());
    make("span", "Drag to move, click and scroll to zoom, double-click for all", tools, { className: "soft hint" });
    const read = make("span", "", tools, { className: "read" });
    // Under the cursor: its time, and the last event before it.
    const say = (place, at) => {
      const event = place < 0 ? "" : `#${data.seq[place]} at ${data.t[place].toFixed(3)} s: ${data.text(place)}`;
      const text = at === undefined ? event : `${at.toFixed(2)} s device time; last event ${event}`;
      read.textContent = read.title = text.slice(0, READ_CHARS);
    };
    const fault = data.place.get(Number(it.article.dataset.decided || NaN)) ?? -1;
    const near = (t) => Math.max(0, Math.min(Data.lower(data.t, t + 1e-9) - 1, data.count - 1));

    const line = Timeline.create(root, data, lanes, fault, {
      hover(t, free) {
        if (t === null) return say(log.selected());
        say(near(t), Math.max(t, 0));
        if (free) log.follow(t);
      },
      pick(t, slack) {
        const before = near(t);
        let best = before;
        for (const place of [before, before + 1]) {
          if (place < data.count && Math.abs(data.t[place] - t) < Math.abs(data.t[best] - t)) best = place;
        }
        if (log.selected() >= 0 && Math.abs(data.t[log.selected()] - t) < slack) return drop();
        select(best);
      },
      select,
    });

    legend(root, fault >= 0);
    const filters = make("div", "", root, { className: "tools" });
    const used = new Set(data.lane), boxes = new Map();
    lanes.forEach((name, lane) => {
      if (!used.has(lane)) return;
      const label = make("label", "", filters);
      label.style.setProperty("--c", colour(lane));
      const box = make("input", "", label, { type: "checkbox", checked: true });
      label.append(" " + name);
      box.addEventListener("change", sift);
      boxes.set(lane, box);
    });
    const progress = make("label", "", filters);
    const everyByte = make("input", "", progress, { type: "checkbox", checked: false });
    progress.append(" every progress");
    progress.hidden = !data.curve.place.length;
    everyByte.addEventListener("change", sift);
    const search = make("input", "", filters, { type: "search", placeholder: "Search the log   /", autocomplete: "off", spellcheck: false });
    search.setAttribute("aria-label", "Search the log");
    search.addEventListener("input", sift);
    const hits = make("span", "", filters, { className: "soft" });

    const log = Log.create(root, data, colour, fault, {
      select,
      seen: (a, b) => line.band(a, b),
    });

    function sift() {
      const wanted = search.value.toLowerCase();
      const lanesOn = lanes.map((_, lane) => !boxes.has(lane) || boxes.get(lane).checked);
      const fits = wanted ? data.texts.map((text) => text.toLowerCase().includes(wanted)) : null;
      const many = log.filter((i) => lanesOn[data.lane[i]] && (
        data.textOf[i] < 0 ? everyByte.checked && (!wanted || data.text(i).toLowerCase().includes(wanted)) : !fits || fits[data.textOf[i]]
      ));
      hits.textContent = `${Data.number(many)} of ${Data.number(data.count)}`;
    }

    function select(place) {
      log.select(place);
      line.pin(data.t[place]);
      line.reveal(data.t[place]);
      say(place);
      history.replaceState(null, "", `#${it.key}/${data.seq[place]}`);
    }
    function drop() {
      log.select(-1);
      line.pin(null);
      history.replaceState(null, "", `#${it.key}`);
    }

    sift();
    // The log opens at what decided the verdict, else where the time line does.
    const opens = data.place.get(Number(it.article.dataset.opens || NaN));
    if (opens !== undefined) log.open(opens);
    else if (line.view()[0] > 0) log.begin(line.view()[0]);
    Object.assign(it, {
      data, line, log,
      search: () => search.focus(),
      look(seq) {
        const place = data.place.get(seq);
        if (place === undefined) return;
        if (!log.shows(place)) {
          boxes.forEach((box) => { box.checked = true; });
          search.value = "";
          if (data.textOf[place] < 0) everyByte.checked = true;
          sift();
        }
        const whole = line.whole[1] - line.whole[0];
        const span = Math.min(Math.max(LOOK_S * 8, whole / 6), whole);
        if (line.view()[1] - line.view()[0] > span) line.show(data.t[place] - span * 0.4, data.t[place] + span * 0.6);
        select(place);
        bringUp(root);
      },
      cite(by) {
        if (!data.cited.length) return;
        const order = data.cited.map((seq) => data.place.get(seq)).sort((a, b) => a - b);
        const at = log.selected();
        const next = by > 0 ? order.find((place) => place > at) : order.findLast((place) => place < at);
        it.look(data.seq[next ?? order[by > 0 ? 0 : order.length - 1]]);
      },
      drop,
      end() {
        line.end();
        log.end();
        root.replaceChildren();
      },
    });
  }

  // What was asked for is the row and what stands below it; of the chart as much as has room.
  function bringUp(root) {
    const { top, bottom } = root.getBoundingClientRect();
    const above = top - HEAD_PX, below = bottom + EDGE_PX - innerHeight;
    scrollBy({ top: Math.max(above, below), behavior: "instant" });
  }

  function legend(root, decided) {
    const rows = [["cited", "a reason rests on it"], ["cited bad", "went wrong"], ["cited good", "went well"]];
    if (decided) rows.push(["decided", "decided the verdict"]);
    rows.push(["band", "the part that the log shows"]);
    const box = make("div", "", root, { className: "legend" });
    for (const [kind, text] of rows) make("span", text, box).prepend(Object.assign(document.createElement("i"), { className: kind }));
  }

  // Keys.
  const help = document.getElementById("help");
  const inTable = {
    j: () => table.move(1), k: () => table.move(-1),
    "/": () => table.search(), Enter: () => table.current() && open(table.current()),
  };
  const go = (by) => {
    const next = table.next(shown.key, by);
    if (next) open(next);
  };
  const inTest = {
    j: () => go(1), k: () => go(-1), Escape: () => open(""), "/": () => shown.search && shown.search(),
    n: () => shown.cite && shown.cite(1), p: () => shown.cite && shown.cite(-1),
    "+": () => shown.line && shown.line.zoom(0.5), "=": () => shown.line && shown.line.zoom(0.5),
    "-": () => shown.line && shown.line.zoom(2), 0: () => shown.line && shown.line.all(),
    ArrowLeft: () => shown.line && shown.line.pan(-0.2), ArrowRight: () => shown.line && shown.line.pan(0.2),
  };
  const theme = Theme.create(() => shown && shown.line && shown.line.restyle());
  const anywhere = { "?": () => help.showModal(), t: theme };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const field = event.target.closest && event.target.closest("input, select, textarea");
    if (field) {
      if (event.key === "Escape") field.blur();
      if (event.key === "Enter" && field.id === "by-text") { field.blur(); table.move(1); }
      return;
    }
    if (event.key === "Enter" && event.target.closest("a, button, summary, th") && !event.target.closest("tr.test")) return;
    const act = (shown ? inTest : inTable)[event.key] || anywhere[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  document.getElementById("ask").addEventListener("click", () => help.showModal());
  help.querySelector("button").addEventListener("click", () => help.close());

  // Copy a command or a path.
  for (const holder of document.querySelectorAll(".copy")) {
    const button = make("button", "Copy", holder, { type: "button" });
    button.addEventListener("click", async () => {
      const text = holder.querySelector("code").textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(holder.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // Paper shows what is folded.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("main details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));

  // A link to the event that is shown already changes no hash.
  addEventListener("click", (event) => {
    const link = event.target.closest("a.ev");
    if (link && link.getAttribute("href") === location.hash) {
      event.preventDefault();
      route();
    }
  });
  addEventListener("hashchange", route);
  route();
  window.blynkOta = { shown: () => shown, ready: () => shown && shown.ready };
})();
