"use strict";
// Matrices and logos. A matrix arrives as a text of four letters a column, one for each of ACGT.

(() => {
  const { h, s } = saers;
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const VALUE = Object.fromEntries([...LETTERS].map((letter, value) => [letter, value]));
  const BASES = "ACGT";
  const COMPLEMENT = { A: "T", C: "G", G: "C", T: "A", N: "N" };

  saers.decode = (text) => {
    const matrix = [];
    for (let i = 0; i + 4 <= text.length; i += 4) {
      const column = [...text.slice(i, i + 4)].map((letter) => VALUE[letter]);
      const total = column.reduce((sum, value) => sum + value, 0) || 1;
      matrix.push(column.map((value) => value / total));
    }
    return matrix;
  };

  // The numbers 0 to 63 that letters stand for.
  saers.steps = (text) => [...text].map((letter) => VALUE[letter]);

  saers.turn = (matrix) => matrix.map((column) => [...column].reverse()).reverse();

  saers.turnText = (sequence) =>
    [...sequence].reverse().map((base) => COMPLEMENT[base.toUpperCase()] || "N").join("");

  const information = (column) =>
    column.reduce((bits, p) => bits + (p > 0 ? p * Math.log2(p) : 0), 2);

  // The letters of a matrix from column `first` of a grid on; nothing else.
  function letters(matrix, { first = 0, step, height }) {
    return matrix.map((column, i) => {
      const bits = Math.max(0, information(column));
      let bottom = height;
      const stack = column.map((p, base) => [p * bits / 2 * height, base])
        .filter(([tall]) => tall > 0.25)
        .sort((a, b) => a[0] - b[0])
        .map(([tall, base]) => {
          bottom -= tall;
          return s("path", {
            class: `base-${BASES[base]}`,
            d: saers.outlines[BASES[base]],
            transform: `translate(${((first + i + 0.02) * step).toFixed(2)} ${bottom.toFixed(2)}) ` +
              `scale(${(step * 0.0096).toFixed(4)} ${(tall / 100).toFixed(4)})`,
          });
        });
      const shares = column.map((p, base) => `${BASES[base]} ${Math.round(p * 100)} %`).join("  ");
      return s("g", {}, s("title", {}, `${i + 1}: ${shares}`), stack);
    });
  }

  const spoken = (consensus) => `Sequence logo, ${consensus}`;

  // A logo in a row of the table.
  saers.thumbnail = (text, consensus, { width = 128, height = 30 } = {}) => {
    const matrix = saers.decode(text);
    const step = Math.min(11, width / matrix.length);
    return s("svg", {
      class: "logo", width: step * matrix.length, height, role: "img",
      viewBox: `0 0 ${step * matrix.length} ${height}`, "aria-label": spoken(consensus),
    }, letters(matrix, { step, height }));
  };

  const AXIS = 26; // room for the numbers of an axis

  // A logo with an axis in bits, as wide as its place allows.
  saers.logo = (matrix, { label, height = 84, columns = matrix.length, first = 0, step = 22, ticks = true }) => {
    const left = ticks ? AXIS : 2;
    const width = left + columns * step;
    const marks = [0, 1, 2].map((bits) => {
      const y = 5 + height - bits / 2 * height;
      return [
        s("line", { class: bits ? "grid" : "axis", x1: left - 2, x2: width, y1: y, y2: y }),
        ticks ? s("text", { class: "tick", x: left - 7, y: y + 3.5, "text-anchor": "end" }, bits) : null,
      ];
    });
    return s("svg", {
      class: "logo", viewBox: `0 0 ${width} ${height + 10}`, width, height: height + 10,
      role: "img", "aria-label": spoken(label),
    }, marks, s("g", { transform: `translate(${left} 5)` },
      letters(matrix, { first, step, height })));
  };

  // A motif above the known motif that it matches, column under column.
  saers.alignment = (query, target, offset) => {
    // The offset is where the motif starts in the known one, which stands as it was matched.
    const start = Math.min(0, -offset);
    const columns = Math.max(query.length, target.length - offset) - start;
    const step = Math.max(6, Math.min(16, 230 / columns));
    const draw = (matrix, first, label) =>
      saers.logo(matrix, { label, columns, first: first - start, step, height: 54, ticks: false });
    return h("div", { class: "alignment" },
      draw(query, 0, "the motif"), draw(target, -offset, "the known motif"));
  };

  // ---- sequences

  saers.letters = (sequence, boxed) => {
    const runs = [];
    for (let i = 0; i < sequence.length; i += 1) {
      const base = sequence[i].toUpperCase();
      const inside = boxed && i >= boxed[0] && i < boxed[1];
      const last = runs[runs.length - 1];
      if (last && last.base === base && last.inside === inside) last.text += sequence[i];
      else runs.push({ base, inside, text: sequence[i] });
    }
    const spans = (wanted) => runs.filter(wanted).map(({ base, text }) =>
      h("span", { class: COMPLEMENT[base] && base !== "N" ? `text-${base}` : "text-N" }, text));
    if (!boxed) return spans(() => true);
    const at = runs.findIndex((run) => run.inside);
    return [
      spans((run) => !run.inside && runs.indexOf(run) < at),
      h("mark", {}, spans((run) => run.inside)),
      spans((run) => !run.inside && runs.indexOf(run) > at),
    ];
  };

  // The best site of a matrix in a sequence on either strand: { start, reverse, score }.
  saers.bestSite = (matrix, sequence) => {
    const scores = matrix.map((column) => column.map((p) => Math.log2((p + 0.01) / 0.26)));
    const turned = [...scores].reverse().map((column) => [...column].reverse());
    const codes = [...sequence.toUpperCase()].map((base) => BASES.indexOf(base));
    let best = null;
    for (const [reverse, table] of [[false, scores], [true, turned]]) {
      for (let start = 0; start + table.length <= codes.length; start += 1) {
        let score = 0;
        for (let i = 0; i < table.length; i += 1) {
          score += codes[start + i] < 0 ? -2 : table[i][codes[start + i]];
        }
        if (!best || score > best.score) best = { start, reverse, score };
      }
    }
    return best;
  };

  // ---- the search by sequence: does a text of bases fit a consensus on either strand?

  const MEANS = { A: 1, C: 2, G: 4, T: 8, R: 5, Y: 10, S: 6, W: 9, K: 12, M: 3 };

  function contains(consensus, text) {
    for (let start = 0; start + text.length <= consensus.length; start += 1) {
      let i = 0;
      while (i < text.length && MEANS[consensus[start + i]] & MEANS[text[i]]) i += 1;
      if (i === text.length) return true;
    }
    return false;
  }

  // Letters for three or four bases fit nothing: they would make everything fit.
  saers.fitsSequence = (consensus, text) =>
    contains(consensus, text) || contains(consensus, saers.turnText(text));
})();
