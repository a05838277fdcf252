"use strict";
// The page is whole without this: it adds buttons, and the keys n and p.
(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const top = (it) => it.getBoundingClientRect().top;
  const edge = 8;
  // From the change that has the focus, if it is in sight; else from what the window begins with.
  const step = (by) => {
    const shown = all("details.change").filter((d) => d.getClientRects().length);
    const here = shown.findIndex((d) => d.contains(document.activeElement));
    const insight = here >= 0 && top(shown[here]) >= 0 && top(shown[here]) < innerHeight;
    const after = shown.findIndex((d) => top(d) > edge + 1);
    const next = insight ? here + 1 : after;
    const previous = insight ? here - 1 : shown.filter((d) => top(d) < edge - 1).length - 1;
    const there = shown[by > 0 ? next : previous];
    if (!there) return;
    scrollBy({ top: top(there) - edge });
    there.querySelector("summary").focus({ preventScroll: true });
  };
  const act = {
    next: () => step(1),
    previous: () => step(-1),
    open: () => all("details").forEach((d) => { d.open = true; }),
    fold: () => all("details").forEach((d) => { d.open = false; }),
  };
  const tools = document.getElementById("tools");
  tools.hidden = false;
  tools.addEventListener("click", (e) => act[e.target.dataset.do]?.());
  addEventListener("hashchange", () => {
    const there = document.getElementById(location.hash.slice(1));
    if (there?.matches("details")) there.open = true;
  });
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const name = { n: "next", p: "previous" }[e.key];
    if (name) act[name]();
  });
})();
