"use strict";
// The log: a list of which only the rows in sight exist, whatever its length.
const Log = (() => {
  const ROW = 20, MAX_HEIGHT = 8000000, SPARE = 4, SLIP = 1e-6;
  const DERIVED = new Set(["firmware", "app", "boot", "slot", "reset", "metric", "crash", "boot_error"]);

  // `decided` is the place of the event that decided the verdict; -1 if it is not known.
  function create(root, data, colour, decided, hooks) {
    const box = document.createElement("div");
    box.className = "log" + (data.boards.length > 1 ? " boards" : "");
    box.tabIndex = 0;
    box.setAttribute("role", "log");
    box.setAttribute("aria-live", "off");
    box.setAttribute("aria-label", "Log of all events");
    const space = document.createElement("div");
    space.className = "space";
    box.append(space);
    const whole = document.createElement("div");
    whole.className = "whole";
    const head = document.createElement("div");
    head.className = "loghead" + (data.boards.length > 1 ? " boards" : "");
    for (const name of ["event", "device time", "witness", ...(data.boards.length > 1 ? ["board"] : []), "what it saw"]) {
      head.append(Object.assign(document.createElement("span"), { textContent: name }));
    }
    root.append(head, box, whole);
    const cited = new Set(data.cited.map((seq) => data.place.get(seq)));
    const pool = [];
    let rows = new Uint32Array(0), times = new Float64Array(0), at = -1, wanted = false;

    const height = () => Math.min(rows.length * ROW, MAX_HEIGHT);
    const inSight = () => Math.ceil(box.clientHeight / ROW);
    // Below the limit of a browser's heights a pixel is a pixel; above it, a share of the whole.
    function top() {
      const room = height() - box.clientHeight;
      if (room <= 0) return 0;
      return (box.scrollTop / room) * (rows.length - box.clientHeight / ROW);
    }
    function scrollTo(index) {
      const room = height() - box.clientHeight, rest = rows.length - box.clientHeight / ROW;
      box.scrollTop = rest <= 0 ? 0 : (Math.max(0, Math.min(index, rest)) / rest) * room;
      ask();
    }

    function draw() {
      wanted = false;
      const first = top(), from = Math.max(0, Math.floor(first + SLIP)), many = Math.min(rows.length - from, inSight() + SPARE);
      while (pool.length < many) pool.push(made());
      const base = box.scrollTop - (first - from) * ROW;
      pool.forEach((row, n) => {
        row.hidden = n >= many;
        if (n < many) fill(row, rows[from + n], base + n * ROW);
      });
      if (rows.length) {
        const last = Math.min(rows.length - 1, from + Math.max(inSight() - 1, 0));
        hooks.seen(data.t[rows[from]], data.t[rows[last]]);
      }
    }

    function made() {
      const row = document.createElement("div");
      for (const name of ["seq", "time", "source", ...(data.boards.length > 1 ? ["board"] : []), "text"]) {
        const cell = document.createElement("span");
        cell.className = name;
        cell.dir = name === "text" ? "ltr" : "";
        row.append(cell);
        row[name] = cell;
      }
      row.addEventListener("click", () => hooks.select(row.place));
      space.append(row);
      return row;
    }

    function fill(row, place, y) {
      row.style.transform = `translateY(${y}px)`;
      if (row.place !== place) {
        row.place = place;
        const source = data.source(place), kind = data.kind(place), text = data.text(place);
        row.seq.textContent = "#" + data.seq[place];
        row.time.textContent = data.t[place].toFixed(3) + " s";
        row.source.textContent = source;
        row.source.style.setProperty("--c", colour(data.lane[place]));
        if (row.board) row.board.textContent = data.board(place);
        row.text.textContent = afresh(place, text);
        row.kinds = (data.tone(place) ? ` ${data.tone(place)}` : "") + (source === "uart" && DERIVED.has(kind) ? " derived" : "");
      }
      row.className = "row" + row.kinds + (cited.has(place) ? " cited" : "") + (place === decided ? " decided" : "") + (place === at ? " at" : "");
    }

    // What is read out of a line says again what the line says: of that the row has the name alone.
    function afresh(place, text) {
      if (data.source(place) !== "uart" || !DERIVED.has(data.kind(place))) return text;
      for (let before = place - 1; before >= 0 && data.t[before] === data.t[place]; before--) {
        if (data.source(before) !== "uart" || data.board(before) !== data.board(place)) continue;
        if (data.kind(before) !== "line") continue;
        const raw = data.text(before).trim();
        return "↳ " + (raw && text.endsWith(raw) ? text.slice(0, -raw.length).replace(/[:\s]+$/, "") : text);
      }
      return "↳ " + text;
    }

    function ask() {
      if (!wanted) {
        wanted = true;
        requestAnimationFrame(draw);
      }
    }

    function filter(wants) {
      const keep = at >= 0 ? at : rows.length ? rows[Math.floor(top())] : 0;
      const found = [];
      for (let i = 0; i < data.count; i++) if (wants(i)) found.push(i);
      rows = Uint32Array.from(found);
      times = Float64Array.from(rows, (i) => data.t[i]);
      space.style.height = height() + "px";
      if (rows.length) follow(data.t[keep]);
      else ask();
      return rows.length;
    }

    // Scroll so that an event stands in the middle; one that is hidden, where it would be.
    function open(place) {
      const index = rows.indexOf(place);
      scrollTo((index >= 0 ? index : Data.lower(times, data.t[place])) - inSight() / 2);
    }

    // Scroll so that the log begins at this time.
    function begin(t) {
      scrollTo(Data.lower(times, t));
    }

    // Scroll so that what was seen at this time stands in the middle.
    function follow(t) {
      scrollTo(Data.lower(times, t + 1e-9) - inSight() / 2);
    }

    function select(place) {
      at = place;
      whole.textContent = place < 0 ? "" :
        `#${data.seq[place]}  ${data.t[place].toFixed(4)} s device time${data.wall(place) && `, ${data.wall(place)} wall clock`}  ${data.source(place)} ${data.kind(place)}` +
        `${data.board(place) ? "  " + data.board(place) : ""}\n${data.text(place)}`;
      if (place >= 0) {
        const index = rows.indexOf(place);
        const found = index >= 0 ? index : Data.lower(times, data.t[place]);
        const first = top();
        if (found < first + 1 || found > first + box.clientHeight / ROW - 2) scrollTo(found - inSight() / 2);
      }
      ask();
    }

    box.addEventListener("scroll", ask, { passive: true });
    const watcher = new ResizeObserver(ask);
    watcher.observe(box);

    return {
      filter, follow, open, begin, select, draw,
      selected: () => at,
      shows: (place) => rows.includes(place),
      box,
      end() {
        watcher.disconnect();
        head.remove();
        box.remove();
        whole.remove();
      },
    };
  }

  return { create };
})();
