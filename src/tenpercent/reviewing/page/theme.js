// Chosen colours, set before the first paint; a module would come too late and flash.
"use strict";
(function () {
  let chosen = null;
  try {
    chosen = localStorage.getItem("tenpercent.theme");
  } catch {
    // Storage can be forbidden; the system's colours do.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
