"use strict";
// What every part of the page uses: the data as they arrive, elements, and numbers as text.
// Text from the data only ever becomes a text node or an attribute, never markup.

window.saers = (() => {
  const saers = { data: null };
  const loads = new Map(); // file -> { promise, resolve }

  // ---- data: scripts that call back, because a page from file:// may not fetch

  function load(file) {
    if (!loads.has(file)) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => {
        entry.resolve = resolve;
        const tag = document.createElement("script");
        tag.src = `data/${file}`;
        tag.onerror = () => {
          loads.delete(file);
          reject(new Error(`data/${file} is missing from the folder of this page.`));
        };
        document.head.append(tag);
      });
      loads.set(file, entry);
    }
    return loads.get(file).promise;
  }

  const fileOf = (number) => `c${String(number).padStart(5, "0")}.js`;

  saers.glyphs = (outlines) => { saers.outlines = outlines; };
  saers.index = (data) => {
    saers.data = data;
    saers.n = data.feature.length;
    saers.rowOf = new Map(data.feature.map((feature, row) => [feature, row]));
  };
  saers.chunk = (number, features) => loads.get(fileOf(number)).resolve(features);
  saers.targets = (matrices) => loads.get("targets.js").resolve(matrices);
  saers.loadTargets = () => load("targets.js");
  saers.loadDetails = async (row) => {
    const size = saers.data.chunk;
    return (await load(fileOf(Math.floor(row / size))))[row % size];
  };

  // ---- elements

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") element.addEventListener(name, value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat(Infinity)) {
      if (child !== null && child !== undefined && child !== false) element.append(child);
    }
    return element;
  }

  saers.h = (tag, attributes, ...children) =>
    fill(document.createElement(tag), attributes, children);
  saers.s = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  saers.$ = (id) => document.getElementById(id);

  // ---- numbers

  const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const known = (value) => value !== null && value !== undefined;
  const superscript = (n) =>
    (n < 0 ? "⁻" : "") + String(Math.abs(n)).replace(/\d/g, (digit) => SUPERSCRIPT[digit]);

  saers.known = known;
  saers.significant = (q) => known(q) && q <= 0.05;
  saers.named = (row) => saers.significant(saers.data.match_q[row]);
  saers.whole = (value) => (known(value) ? value.toLocaleString("en") : "–");

  // Powers of ten from 10⁻³ downwards, plain digits above.
  saers.power = (log10) => {
    if (!known(log10)) return "–";
    if (log10 > -3) return saers.number(10 ** log10);
    let exponent = Math.floor(log10);
    let mantissa = (10 ** (log10 - exponent)).toFixed(1);
    if (mantissa === "10.0") { mantissa = "1.0"; exponent += 1; }
    return `${mantissa.replace(/\.0$/, "")}\u200a×\u200a10${superscript(exponent)}`;
  };
  saers.small = (value) => {
    if (!known(value)) return "–";
    return value === 0 ? "< 10⁻³⁰⁰" : saers.power(Math.log10(value));
  };
  saers.number = (value) => {
    if (!known(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en").replace("-", "−");
    const digits = size >= 100 ? 3 : 2;
    const places = Math.min(20, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
    const text = value.toFixed(places).replace("-", "−");
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  };
  saers.percent = (share) => {
    if (!known(share)) return "–";
    if (share === 0) return "0 %";
    return share < 1e-6 ? "< 0.0001 %" : `${saers.number(share * 100)} %`;
  };

  // ---- colours

  const HUES = ["#4269d0", "#e08a00", "#e0483e", "#3aa6a0", "#2f9e52", "#e8719f", "#8f63d6",
    "#7fa8ef", "#96694a", "#8a8f00", "#b8459c", "#0f7f9e"];
  saers.hue = (number) => HUES[number % HUES.length];
  saers.style = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  saers.dark = window.matchMedia("(prefers-color-scheme: dark)");

  // A ramp of three colours that starts near the page and ends far from it.
  saers.ramp = (share) => {
    const stops = saers.dark.matches
      ? [[51, 65, 92], [56, 160, 210], [253, 240, 170]]
      : [[190, 210, 232], [52, 120, 196], [26, 24, 92]];
    const place = Math.min(1, Math.max(0, share)) * 2;
    const [from, to] = place < 1 ? [stops[0], stops[1]] : [stops[1], stops[2]];
    const part = place < 1 ? place : place - 1;
    return `rgb(${from.map((value, i) => Math.round(value + (to[i] - value) * part)).join(",")})`;
  };

  return saers;
})();
