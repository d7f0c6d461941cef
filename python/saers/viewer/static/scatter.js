"use strict";
// The map: features by their places in the embedding, on a canvas.

(() => {
  const { h, $, known } = saers;
  const data = saers.data;
  const canvas = $("canvas");
  const pen = canvas.getContext("2d");
  const dots = document.createElement("canvas"); // all points, drawn when they change
  const brush = dots.getContext("2d");
  const rows = data.feature.map((_, row) => row)
    .filter((row) => known(data.x[row]) && known(data.y[row]));
  const SHOWN = 11; // categories with colours of their own

  const range = (values) => values.reduce(
    ([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [left, right] = range(rows.map((row) => data.x[row]));
  const [low, high] = range(rows.map((row) => data.y[row]));
  const move = { scale: 1, x: 0, y: 0 };
  let size = { width: 0, height: 0 };
  let hovered = null;

  // ---- places

  function place(row) {
    const pad = 18;
    const unit = Math.min((size.width - 2 * pad) / (right - left || 1),
      (size.height - 2 * pad) / (high - low || 1));
    const x = size.width / 2 + (data.x[row] - (left + right) / 2) * unit;
    const y = size.height / 2 - (data.y[row] - (low + high) / 2) * unit;
    return [x * move.scale + move.x, y * move.scale + move.y];
  }

  function nearest(x, y) {
    let best = null;
    let least = 12 ** 2;
    for (const row of rows) {
      const [px, py] = place(row);
      const distance = (px - x) ** 2 + (py - y) ** 2 + (saers.shown.has(row) ? 0 : 64);
      if (distance < least) { least = distance; best = row; }
    }
    return best;
  }

  // ---- colours

  let colouring = null;

  function byCategory(key, name, term) {
    const counts = new Map();
    for (const row of rows) {
      const category = data[key][row];
      if (known(category) && category !== -1) counts.set(category, (counts.get(category) || 0) + 1);
    }
    const common = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
    // Clusters are numbered by size and keep their colours everywhere on the page.
    const colour = new Map(common.map((category, i) =>
      [category, key === "cluster" ? saers.hue(category) : i < SHOWN ? saers.hue(i) : null]));
    const entries = common.slice(0, SHOWN).map((category) => h("button", {
      type: "button", class: "key", title: "Show these only",
      click: () => saers.search(term(category)),
    }, h("i", { style: `background:${colour.get(category)}` }),
    h("span", {}, name(category)), h("small", {}, saers.whole(counts.get(category)))));
    const more = common.length - SHOWN;
    if (more > 0) entries.push(h("p", { class: "more" }, `and ${saers.whole(more)} more`));
    return { of: (row) => colour.get(data[key][row]) || null, legend: entries };
  }

  function byNumber(key, text) {
    const values = rows.map((row) => data[key][row]).filter((value) => value > 0);
    const [least, most] = range(values).map(Math.log10);
    const share = (value) => (most > least ? (Math.log10(value) - least) / (most - least) : 0.5);
    const legend = values.length === 0 ? [] : [h("div", { class: "ramp" },
      h("i", { style: `background:linear-gradient(to top,${[0, 0.25, 0.5, 0.75, 1].map(saers.ramp).join(",")})` }),
      h("div", {}, h("span", {}, text(10 ** most)), h("span", {}, text(10 ** least))))];
    return { of: (row) => (data[key][row] > 0 ? saers.ramp(share(data[key][row])) : null), legend };
  }

  const COLOURINGS = {
    cluster: () => byCategory("cluster", (cluster) => `cluster ${cluster}`,
      (cluster) => `cluster:${cluster}`),
    family: () => byCategory("family", String, String),
    enriched: () => byCategory("enriched", (name) => name.replace(/^[^:]*:/, ""),
      String),
    density: () => byNumber("density", saers.percent),
    mean_activation: () => byNumber("mean_activation", saers.number),
  };

  saers.recolour = () => {
    colouring = COLOURINGS[$("colour").value]();
    $("legend").replaceChildren(...colouring.legend);
    saers.drawMap();
  };

  // ---- drawing

  saers.drawMap = () => {
    if (!colouring || size.width === 0) return;
    const ratio = window.devicePixelRatio || 1;
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.clearRect(0, 0, size.width, size.height);
    const grey = saers.style("--faint");
    const radius = radiusOf();
    const front = rows.filter((row) => saers.shown.has(row));
    const back = front.length === rows.length ? [] : rows.filter((row) => !saers.shown.has(row));
    for (const row of back) dot(row, radius * 0.8, grey, 0.25);
    // Points without a colour lie under those that have one.
    const plain = front.filter((row) => !colouring.of(row));
    for (const row of plain) dot(row, radius, grey, 0.7);
    for (const row of front) {
      const colour = colouring.of(row);
      if (colour) dot(row, radius, colour, 0.85);
    }
    rings();
  };

  const radiusOf = () =>
    Math.max(1.6, Math.min(4.5, 120 / Math.sqrt(rows.length + 1))) * move.scale ** 0.3;

  // Mark the points under the mouse and in the panel, over the points as they were drawn.
  function rings() {
    const radius = radiusOf();
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (dots.width > 0 && dots.height > 0) pen.drawImage(dots, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (hovered !== null) ring(hovered, radius + 2, 1.5);
    if (known(saers.row) && known(data.x[saers.row])) ring(saers.row, radius + 4, 2.5);
  }
  saers.markPoint = rings;

  function dot(row, radius, colour, alpha) {
    const [x, y] = place(row);
    if (x < -9 || y < -9 || x > size.width + 9 || y > size.height + 9) return;
    brush.globalAlpha = alpha;
    brush.fillStyle = colour;
    if (radius < 2) { // thousands of points: squares are drawn many times faster
      brush.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      return;
    }
    brush.beginPath();
    brush.arc(x, y, radius, 0, 7);
    brush.fill();
  }

  function ring(row, radius, width) {
    const [x, y] = place(row);
    pen.strokeStyle = saers.style("--ink");
    pen.lineWidth = width;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.stroke();
  }

  // ---- mouse and buttons

  function zoom(factor, x = size.width / 2, y = size.height / 2) {
    const scale = Math.min(60, Math.max(1, move.scale * factor));
    const change = scale / move.scale;
    Object.assign(move, scale === 1 ? { x: 0, y: 0 }
      : { x: x - (x - move.x) * change, y: y - (y - move.y) * change }, { scale });
    saers.drawMap();
  }

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  let drag = null;

  function hover(event) {
    const [x, y] = at(event);
    const row = nearest(x, y);
    canvas.style.cursor = row === null ? "grab" : "pointer";
    if (row !== hovered) { hovered = row; rings(); }
    $("tip").hidden = row === null;
    if (row === null) return;
    $("tip").replaceChildren(
      h("b", {}, data.name[row]),
      known(data.match_name[row]) ? h("span", {}, `${data.match_name[row]}, q ${saers.small(data.match_q[row])}`)
        : h("span", {}, "no match"),
      data.thumb[row] ? saers.thumbnail(data.thumb[row], data.consensus[row], { height: 26 }) : null);
    $("tip").style.left = `${Math.max(4, Math.min(x + 14, size.width - 176))}px`;
    $("tip").style.top = `${y > size.height / 2 ? y - 88 : y + 14}px`;
  }

  canvas.addEventListener("pointerdown", (event) => {
    drag = { from: at(event), x: move.x, y: move.y, far: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) { hover(event); return; }
    const [x, y] = at(event);
    drag.far ||= Math.hypot(x - drag.from[0], y - drag.from[1]) > 4;
    if (!drag.far) return;
    Object.assign(move, { x: drag.x + x - drag.from[0], y: drag.y + y - drag.from[1] });
    $("tip").hidden = true;
    saers.drawMap();
  });
  canvas.addEventListener("pointerup", (event) => {
    const row = drag && !drag.far ? nearest(...at(event)) : null;
    drag = null;
    if (row !== null) saers.select(row);
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    $("tip").hidden = true;
    rings();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...at(event));
  }, { passive: false });
  $("zoom-in").addEventListener("click", () => zoom(1.6));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  $("zoom-reset").addEventListener("click", () => zoom(0));
  $("map-size").addEventListener("click", (event) => {
    const large = document.body.classList.toggle("large-map");
    event.target.textContent = large ? "Smaller" : "Larger";
    event.target.setAttribute("aria-expanded", String(large));
  });
  $("colour").addEventListener("change", saers.recolour);
  saers.dark.addEventListener("change", saers.recolour);

  new ResizeObserver(([entry]) => {
    const { width, height } = entry.contentRect;
    const ratio = window.devicePixelRatio || 1;
    size = { width, height };
    for (const layer of [canvas, dots]) {
      layer.width = Math.round(width * ratio);
      layer.height = Math.round(height * ratio);
    }
    saers.drawMap();
  }).observe($("plane"));

  if (rows.length === 0) $("plane").append(h("p", { class: "nothing" }, "No feature is on the map."));
})();
