"use strict";
// Runs in the head, so that a page appears in the chosen theme at once.
(() => {
  const KEY = "mtbench-theme";
  const root = document.documentElement;
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  try {
    show(localStorage.getItem(KEY));
  } catch { /* storage is switched off: the system's theme */ }
  addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = root.dataset.theme ?? "auto";
    choice.closest("label").hidden = false;
    choice.addEventListener("change", () => {
      show(choice.value);
      try {
        localStorage.setItem(KEY, choice.value);
      } catch { /* it holds for this page alone */ }
    });
  });
})();
