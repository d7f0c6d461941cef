"use strict";
// The table of features: sorted, searched, and drawn only where it is seen.

(() => {
  const { h, $, known } = saers;
  const HEIGHT = 46; // of a row, as in atlas.css
  const SPARE = 8; // rows drawn beyond what is seen

  const data = saers.data;
  const twoLines = (upper, lower, fade) => [
    h("span", { class: fade ? "upper fade" : "upper" }, upper), h("span", { class: "lower" }, lower),
  ];

  const COLUMNS = [
    { key: "rank", label: "Rank", hint: "By mean activation", up: true,
      cell: (row) => saers.whole(data.rank[row]) },
    { key: "feature", label: "Feature", hint: "Number of the feature in the autoencoder", up: true,
      cell: (row) => [
        h("i", { class: "dot", style: `background:${saers.clusterColour(data.cluster[row])}`,
          title: clusterName(data.cluster[row]) }),
        h("span", { class: "upper" }, String(data.feature[row])),
      ] },
    { key: "log10_evalue", label: "Motif", hint: "Sorted by the E-value of the motif", up: true,
      cell: (row) => (data.thumb[row] ? saers.thumbnail(data.thumb[row], data.consensus[row])
        : h("span", { class: "none" }, data.n_nonzero[row] ? "no motif" : "dead")) },
    { key: "match_q", label: "Best match", hint: "Sorted by q", up: true,
      cell: (row) => (known(data.match_name[row])
        ? twoLines(data.match_name[row], `q ${saers.small(data.match_q[row])}`, !saers.named(row))
        : h("span", { class: "none" }, "–")) },
    { key: "enriched_fold", label: "Top enrichment", hint: "Sorted by fold", up: false,
      cell: (row) => (known(data.enriched[row])
        ? twoLines(data.enriched[row].replace(/^[^:]*:/, ""),
          `${saers.number(data.enriched_fold[row])} × ${data.enriched[row].split(":")[0]}`)
        : h("span", { class: "none" }, "–")) },
    { key: "density", label: "Density", hint: "Share of positions where it fires", up: false,
      number: true, cell: (row) => saers.percent(data.density[row]) },
    { key: "mean_activation", label: "Mean", hint: "Mean activation where it fires", up: false,
      number: true, cell: (row) => saers.number(data.mean_activation[row]) },
    { key: "cluster", label: "Cluster", hint: "On the map", up: true, number: true,
      cell: (row) => (data.cluster[row] >= 0 ? String(data.cluster[row]) : "–") },
  ];

  // Without annotations their column would be empty.
  const annotated = data.enriched.some(known);
  const columns = COLUMNS.filter((column) => annotated || column.key !== "enriched_fold");
  $("table").classList.toggle("unannotated", !annotated);

  const clusterName = (cluster) => (cluster >= 0 ? `cluster ${cluster}` : "in no cluster");
  saers.clusterName = clusterName;
  saers.clusterColour = (cluster) => (cluster >= 0 ? saers.hue(cluster) : "var(--faint)");

  // ---- which rows, in which order

  const FILTERS = {
    all: () => true,
    selected: (row) => data.selected[row],
    motif: (row) => known(data.thumb[row]),
    named: saers.named,
    unnamed: (row) => known(data.thumb[row]) && !saers.named(row),
  };

  let haystacks = null;
  const haystack = (row) => [
    data.name[row], data.match_id[row], data.match_name[row], data.family[row],
    data.consensus[row], ...data.class_of[row].map((number) => data.classes[number]),
  ].filter(known).join(" ").toLowerCase();

  function fits(row, term) {
    if (/^\d+$/.test(term)) return String(data.feature[row]).startsWith(term);
    const cluster = term.match(/^cluster:(-?\d+)$/);
    if (cluster) return data.cluster[row] === Number(cluster[1]);
    if (haystacks[row].includes(term)) return true;
    return /^[acgt]{4,}$/.test(term) && known(data.consensus[row])
      && saers.fitsSequence(data.consensus[row], term.toUpperCase());
  }

  const view = { rows: [], place: new Map(), sort: "rank", up: true, drawn: new Map() };

  function compare(a, b) {
    const [x, y] = [value(a), value(b)];
    if (known(x) && known(y) && x !== y) return (x < y ? -1 : 1) * (view.up ? 1 : -1);
    if (known(x) !== known(y)) return known(x) ? -1 : 1; // what is not known comes last
    return data.rank[a] - data.rank[b];
  }

  function value(row) {
    const found = data[view.sort][row];
    return view.sort === "cluster" && found < 0 ? null : found;
  }

  saers.refresh = () => {
    haystacks ||= data.feature.map((_, row) => haystack(row));
    const terms = $("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const filter = FILTERS[$("filter").value];
    const rows = [];
    for (let row = 0; row < saers.n; row += 1) {
      if (filter(row) && terms.every((term) => fits(row, term))) rows.push(row);
    }
    view.rows = rows.sort(compare);
    view.place = new Map(rows.map((row, place) => [row, place]));
    saers.shown = view.place;
    $("count").textContent = rows.length === saers.n
      ? `${saers.whole(saers.n)} features`
      : `${saers.whole(rows.length)} of ${saers.whole(saers.n)} features`;
    $("table").setAttribute("aria-rowcount", rows.length + 1);
    redraw();
    heads();
    if (saers.drawMap) saers.drawMap();
  };

  // ---- drawing

  function redraw() {
    $("sheet").replaceChildren();
    $("sheet").style.height = `${Math.max(1, view.rows.length) * HEIGHT}px`;
    view.drawn.clear();
    if (view.rows.length === 0) {
      $("sheet").append(h("p", { class: "nothing" }, "No feature fits this search."));
    }
    draw();
  }

  function draw() {
    const box = $("rows");
    const first = Math.max(0, Math.floor(box.scrollTop / HEIGHT) - SPARE);
    const end = Math.min(view.rows.length,
      Math.ceil((box.scrollTop + box.clientHeight) / HEIGHT) + SPARE);
    for (const [place, element] of view.drawn) {
      if (place < first || place >= end) { element.remove(); view.drawn.delete(place); }
    }
    for (let place = first; place < end; place += 1) {
      if (!view.drawn.has(place)) {
        const element = line(view.rows[place], place);
        view.drawn.set(place, element);
        $("sheet").append(element);
      }
    }
  }

  function line(row, place) {
    return h("div", {
      class: "row", role: "row", id: `row-${row}`, "aria-rowindex": place + 2,
      "aria-selected": row === saers.row ? "true" : "false",
      style: `transform:translateY(${place * HEIGHT}px)`, click: () => saers.select(row),
    }, columns.map((column) =>
      h("div", { role: "gridcell", class: column.number ? "cell right" : "cell" }, column.cell(row))));
  }

  function heads() {
    $("columns").replaceChildren(...columns.map((column) => {
      const sorted = column.key === view.sort;
      const order = view.up ? "ascending" : "descending";
      return h("div", {
        role: "columnheader", class: column.number ? "cell right" : "cell",
        "aria-sort": sorted ? order : "none",
      }, h("button", { type: "button", title: column.hint, click: () => sortBy(column) },
        column.label, sorted ? h("span", { "aria-hidden": "true" }, view.up ? " ↑" : " ↓") : null));
    }));
  }

  function sortBy(column) {
    if (view.sort === column.key) view.up = !view.up;
    else { view.sort = column.key; view.up = column.up; }
    $("rows").scrollTop = 0;
    saers.refresh();
  }

  // ---- for the other parts

  saers.markRow = (row) => {
    for (const element of view.drawn.values()) {
      element.setAttribute("aria-selected", element.id === `row-${row}` ? "true" : "false");
    }
    $("table").setAttribute("aria-activedescendant", `row-${row}`);
    const place = view.place.get(row);
    if (place === undefined) return;
    const box = $("rows");
    const top = place * HEIGHT;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + HEIGHT > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + HEIGHT - box.clientHeight;
    }
  };
  saers.firstRow = () => view.rows[0];
  saers.randomRow = () => view.rows[Math.floor(Math.random() * view.rows.length)];
  saers.neighbour = (row, steps) => {
    const place = view.place.get(row);
    if (place === undefined) return view.rows[0];
    return view.rows[Math.min(Math.max(place + steps, 0), view.rows.length - 1)];
  };

  let pending = false;
  $("rows").addEventListener("scroll", () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; draw(); });
  });
  new ResizeObserver(draw).observe($("rows"));
})();
