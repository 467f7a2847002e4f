"use strict";
// The switch of the theme: as the system, light, dark. All pages share what was chosen.
const Theme = (() => {
  const THEMES = ["system", "light", "dark"], KEY = "blynk-ota-theme";
  const WHEN_DARK = { system: "(prefers-color-scheme: dark)", light: "not all", dark: "all" };
  const html = document.documentElement;
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem(KEY);
      localStorage.setItem(KEY, value);
    } catch { /* a page from a file may have no storage */ }
    return null;
  };

  // Show the theme that was chosen; returns what turns to the next one. `restyle` draws again.
  function create(restyle) {
    const button = document.getElementById("theme");
    const dark = [...document.styleSheets[0].cssRules].find((rule) => (rule.conditionText || "").includes("prefers-color-scheme"));
    function show(turn) {
      let now = stored() || html.dataset.theme || "system";
      if (!THEMES.includes(now)) now = "system";
      if (turn) {
        now = THEMES[(THEMES.indexOf(html.dataset.theme || "system") + 1) % THEMES.length];
        stored(now);
      }
      dark.media.mediaText = WHEN_DARK[now];
      if (now === "system") delete html.dataset.theme;
      else html.dataset.theme = now;
      button.firstElementChild.textContent = now;
      restyle();
    }
    button.addEventListener("click", () => show(true));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(false));
    show(false);
    return () => show(true);
  }

  return { create };
})();
