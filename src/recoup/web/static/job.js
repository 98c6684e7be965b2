// The page of a job that runs: the log stays at its end for who reads there, and short; what is old is said to be.
(() => {
  "use strict";
  const MOST = 500; // lines that stay, as on the page when it is loaded
  const NEAR = 40; // pixels from the end of the log within which somebody reads there
  let following = true;

  const log = () => document.getElementById("log");
  const toEnd = () => { const shown = log(); if (shown) shown.scrollTop = shown.scrollHeight; };

  function shorten(list) {
    const cut = list.children.length - MOST;
    for (let n = 0; n < cut; n += 1) list.firstElementChild.remove();
    const before = document.getElementById("cut");
    if (cut > 0 && before) before.hidden = false;
  }

  function connected(well) {
    const told = document.getElementById("unconnected");
    if (told) told.hidden = well;
  }

  document.addEventListener("DOMContentLoaded", toEnd);
  document.addEventListener("htmx:sseOpen", () => connected(true));
  document.addEventListener("htmx:sseError", () => connected(false));
  document.addEventListener("htmx:sseBeforeMessage", () => {
    const shown = log();
    following = !shown || shown.scrollHeight - shown.scrollTop - shown.clientHeight < NEAR;
  });
  document.addEventListener("htmx:sseMessage", (event) => {
    const kind = event.detail.type;
    if (kind === "lines") shorten(event.target);
    if (kind === "ended") document.getElementById("running")?.remove();
    if (following && (kind === "lines" || kind === "log" || kind === "ended")) toEnd();
  });
})();
