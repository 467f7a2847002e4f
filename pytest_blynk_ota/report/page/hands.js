"use strict";
// What hands do on a time line: wheel, drag, two fingers, click, double click.
const Hands = (() => {
  const STILL_PX = 3, MAX_WHEEL = 200, WHEEL = 300, CLICK_PX = 4;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // `it` has time(px), gutter(), room() in pixels, zoom, pan, all; `say` has hover(t) and pick(t, slack).
  function listen(line, it, say) {
    const pointers = new Map();
    let moved = 0;
    const left = (event) => event.clientX - line.getBoundingClientRect().left;

    line.addEventListener("wheel", (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      // The page scrolls on, unless the reader has clicked here or holds a key.
      if (!sideways && !event.ctrlKey && !event.metaKey && !line.contains(document.activeElement)) return;
      event.preventDefault();
      if (sideways) it.pan(event.deltaX / it.room());
      else it.zoom(Math.exp(clamp(event.deltaY, -MAX_WHEEL, MAX_WHEEL) / WHEEL), it.time(left(event)));
    }, { passive: false });

    line.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("button")) return;
      line.focus({ preventScroll: true });
      line.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, left(event));
      moved = 0;
    });

    function drag(event) {
      const before = [...pointers.values()];
      moved += Math.abs(left(event) - pointers.get(event.pointerId));
      pointers.set(event.pointerId, left(event));
      const now = [...pointers.values()];
      if (now.length === 2) {
        const [was, is] = [before, now].map(([a, b]) => Math.max(Math.abs(a - b), 1));
        it.zoom(clamp(was / is, 0.5, 2), it.time((now[0] + now[1]) / 2));
      } else if (moved > STILL_PX) it.pan((before[0] - now[0]) / it.room());
    }

    line.addEventListener("pointermove", (event) => {
      if (pointers.has(event.pointerId)) return drag(event);
      if (event.pointerType !== "touch" && left(event) >= it.gutter()) say.hover(it.time(left(event)));
    });
    line.addEventListener("pointerup", (event) => {
      if (pointers.delete(event.pointerId) && moved <= STILL_PX) {
        say.pick(it.time(left(event)), it.time(CLICK_PX) - it.time(0));
      }
    });
    line.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
    line.addEventListener("pointerleave", () => say.hover(null));
    line.addEventListener("dblclick", it.all);
  }

  return { listen };
})();
