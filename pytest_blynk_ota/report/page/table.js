"use strict";
// The verdict table: filters, order, the current row.
const Table = (() => {
  function create(open) {
    const table = document.getElementById("table"), body = table.tBodies[0];
    const tests = [...body.querySelectorAll("tr.test")], groups = [...body.querySelectorAll("tr.group")];
    const order = [...body.rows];
    const byText = document.getElementById("by-text"), byOutcome = document.getElementById("by-outcome");
    const byBoard = document.getElementById("by-board"), shown = document.getElementById("shown");
    const words = [...document.querySelectorAll(".words [data-word]")];
    const texts = new Map(tests.map((row) => [row, row.textContent.toLowerCase()]));
    let current = null;

    const values = (name) => [...new Set(tests.flatMap((row) => row.dataset[name].split(", ")))].filter(Boolean).sort();
    for (const [select, name] of [[byOutcome, "outcome"], [byBoard, "board"]]) {
      for (const value of values(name)) select.append(new Option(value, value));
      if (select.options.length < 3) select.hidden = true;
      select.addEventListener("change", filter);
    }
    words.forEach((button) => button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    }));
    byText.addEventListener("input", filter);

    function filter() {
      const wanted = new Set(words.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.word));
      const parts = byText.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of tests) {
        row.hidden = !(
          (!wanted.size || wanted.has(row.dataset.word)) &&
          (!byOutcome.value || row.dataset.outcome.split(", ").includes(byOutcome.value)) &&
          (!byBoard.value || row.dataset.board.split(", ").includes(byBoard.value)) &&
          parts.every((part) => texts.get(row).includes(part))
        );
      }
      heads();
      const left = visible().length;
      shown.textContent = left === tests.length ? "" : `${left} of ${tests.length}`;
      document.getElementById("none").hidden = left > 0;
    }

    function heads() {
      const sorted = table.querySelector("th[aria-sort]");
      for (const head of groups) {
        let next = head.nextElementSibling, any = false;
        for (; next && !next.classList.contains("group"); next = next.nextElementSibling) any = any || !next.hidden;
        head.hidden = Boolean(sorted) || !any;
      }
    }

    const key = {
      word: (row) => order.indexOf(row),
      name: (row) => row.querySelector("a").textContent,
      outcome: (row) => row.dataset.outcome || "~",
      fault: (row) => row.dataset.fault || "~",
      board: (row) => row.dataset.board || "~",
      seconds: (row) => -Number(row.dataset.seconds),
    };
    const heading = [...table.querySelectorAll("th[data-sort]")];
    for (const head of heading) {
      head.tabIndex = 0;
      head.setAttribute("role", "button");
      const turn = () => sort(head);
      head.addEventListener("click", turn);
      head.addEventListener("keydown", (event) => event.key === "Enter" && turn());
    }
    // Up, down, and back to the groups.
    function sort(head) {
      const before = head.getAttribute("aria-sort");
      const next = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
      heading.forEach((one) => one.removeAttribute("aria-sort"));
      if (!next) body.append(...order);
      else {
        head.setAttribute("aria-sort", next);
        const of = key[head.dataset.sort];
        const rows = [...tests].sort((a, b) => (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : order.indexOf(a) - order.indexOf(b)));
        body.append(...groups, ...(next === "descending" ? rows.reverse() : rows));
      }
      heads();
    }

    const visible = () => [...body.querySelectorAll("tr.test")].filter((row) => !row.hidden);
    function move(by) {
      const rows = visible();
      if (!rows.length) return;
      const at = rows.indexOf(current);
      select(rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(at + by, rows.length - 1))]);
    }
    function select(row) {
      if (current) current.classList.remove("current");
      current = row;
      if (!row) return;
      row.classList.add("current");
      row.querySelector("a").focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    }
    body.addEventListener("click", (event) => {
      const row = event.target.closest("tr.test");
      if (!row || event.target.closest("a") || String(getSelection())) return;
      open(row.dataset.key);
    });

    return {
      move, filter,
      current: () => current && current.dataset.key,
      select: (name) => select(tests.find((row) => row.dataset.key === name) || null),
      next(name, by) {
        const rows = visible().map((row) => row.dataset.key), at = rows.indexOf(name);
        return rows[at + by];
      },
      search: () => byText.focus(),
    };
  }
  return { create };
})();
