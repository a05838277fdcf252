"use strict";
// The page is whole without this: it adds buttons, and the keys n and p.
(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const shown = () => all("details.change").filter((d) => d.getClientRects().length);
  const step = (forward) => {
    const edge = 8;
    const places = shown().map((d) => [d, d.getBoundingClientRect().top]);
    const there = forward
      ? places.find(([, top]) => top > edge + 1)
      : places.reverse().find(([, top]) => top < edge - 1);
    if (!there) return;
    window.scrollBy({ top: there[1] - edge });
    there[0].querySelector("summary").focus({ preventScroll: true });
  };
  const act = {
    next: () => step(true),
    previous: () => step(false),
    open: () => all("details").forEach((d) => { d.open = true; }),
    fold: () => all("details").forEach((d) => { d.open = false; }),
  };
  const tools = document.getElementById("tools");
  tools.hidden = false;
  tools.addEventListener("click", (e) => act[e.target.dataset.do]?.());
  document.addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const name = { n: "next", p: "previous" }[e.key];
    if (name) act[name]();
  });
})();
