"use strict";
// The page as a whole: which feature is selected, the address, the keys, the header.

(() => {
  const { h, $ } = saers;

  if (!saers.data) {
    document.querySelector("main").replaceChildren(
      h("p", { class: "notice" }, "data/index.js is missing from the folder of this page."));
    return;
  }

  saers.row = null;

  // ---- the selection lives in the address: #f=123

  const asked = () => {
    const found = location.hash.match(/^#f=(\d+)$/);
    return found ? Number(found[1]) : null;
  };

  function show(row) {
    saers.row = row;
    saers.markRow(row);
    saers.markPoint();
    document.title = `Feature ${saers.data.feature[row]} · ${saers.data.meta.title}`;
    saers.showDetail(row);
  }

  function follow() {
    const feature = asked();
    if (feature !== null && !saers.rowOf.has(feature)) {
      $("detail").replaceChildren(
        h("p", { class: "notice" }, `There is no feature ${feature} in this atlas.`));
      return;
    }
    const row = feature === null ? saers.firstRow() : saers.rowOf.get(feature);
    if (row !== undefined) show(row);
    else $("detail").replaceChildren(h("p", { class: "notice" }, "There are no features here."));
  }

  saers.select = (row) => {
    if (row === undefined) return;
    const hash = `#f=${saers.data.feature[row]}`;
    if (location.hash === hash) show(row);
    else location.hash = hash;
  };
  saers.step = (steps) => saers.select(saers.neighbour(saers.row, steps));
  saers.search = (text) => {
    $("search").value = text;
    $("rows").scrollTop = 0;
    saers.refresh();
  };

  // ---- keys

  const KEYS = {
    j: () => saers.step(1),
    k: () => saers.step(-1),
    r: () => saers.select(saers.randomRow()),
    "/": () => $("search").focus(),
    "?": () => $("guide").showModal(),
  };
  // In the table only: elsewhere these keys scroll.
  const MOVES = {
    ArrowDown: KEYS.j,
    ArrowUp: KEYS.k,
    PageDown: () => saers.step(10),
    PageUp: () => saers.step(-10),
    Home: () => saers.step(-saers.n),
    End: () => saers.step(saers.n),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("guide").open) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape" && event.target === $("search")) saers.search("");
      return;
    }
    const inTable = $("table") === event.target || $("rows").contains(event.target);
    const action = KEYS[event.key] || (inTable && MOVES[event.key]);
    if (!action) return;
    event.preventDefault();
    action();
  });

  // ---- the header

  const count = (fits) => saers.data.feature.filter((_, row) => fits(row)).length;
  const { facts } = saers.data.meta;
  const own = [
    ["Features", saers.whole(saers.n), "Latents of the autoencoder."],
    ["With a motif", saers.whole(count((row) => saers.data.thumb[row])), "Features whose seqlets share a motif."],
    ["Named", saers.whole(count(saers.named)), "Features with a known motif at q ≤ 0.05."],
  ];
  $("facts").replaceChildren(...[...own, ...facts].map(([label, value, hint]) =>
    h("div", { class: value.length > 12 ? "long" : null, title: hint ? `${value}\n${hint}` : value }, h("dt", {}, label), h("dd", {}, value))));

  // ---- begin

  $("help").addEventListener("click", () => $("guide").showModal());
  $("guide").addEventListener("click", (event) => {
    if (event.target === $("guide")) $("guide").close();
  });
  $("random").addEventListener("click", KEYS.r);
  $("search").addEventListener("input", () => saers.search($("search").value));
  $("filter").addEventListener("change", saers.refresh);
  window.addEventListener("hashchange", follow);
  const first = saers.rowOf.get(asked());
  const suits = first === undefined ? saers.data.selected.some(Boolean) : saers.data.selected[first];
  $("filter").value = suits ? "selected" : "all";
  saers.refresh();
  saers.recolour();
  follow();
})();
