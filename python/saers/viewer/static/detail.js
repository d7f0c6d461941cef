"use strict";
// The panel of one feature: motifs and their matches, seqlets, enrichment, relatives.

(() => {
  const { h, s, $, known } = saers;
  const data = saers.data;
  const FLANK = 8; // bases shown on either side of an aligned site
  let asked = 0;
  let aligned = true;

  saers.showDetail = async (row) => {
    asked += 1;
    const turn = asked;
    try {
      const [details, targets] = await Promise.all([saers.loadDetails(row), saers.loadTargets()]);
      if (turn === asked) $("detail").replaceChildren(...panel(row, details, targets));
    } catch (error) {
      $("detail").replaceChildren(h("p", { class: "notice" }, error.message));
    }
    $("detail").scrollTop = 0;
  };

  const panel = (row, details, targets) => [
    title(row),
    numbers(row),
    message(row),
    details.motifs ? motifs(details.motifs, targets) : null,
    h("div", { class: "pair" },
      details.classes ? enrichment(details) : null,
      details.related ? relatives(details.related) : null),
    details.effects ? effects(details) : null,
    details.shuffled ? shuffled(details) : null,
    details.seqlets ? seqlets(row, details) : null,
  ].filter(Boolean);

  const section = (name, note, ...content) => h("section", { class: "card" },
    h("div", { class: "card-head" }, h("h3", {}, name), note ? h("p", { class: "note" }, note) : null),
    ...content);

  // ---- what the feature is

  function title(row) {
    const step = (steps, sign, label) => h("button", {
      type: "button", class: "button small", "aria-label": label, click: () => saers.step(steps),
    }, sign);
    return h("div", { class: "title" },
      h("div", {},
        h("h2", {}, "Feature ", String(data.feature[row]),
          saers.named(row) ? h("span", { class: "name" }, data.match_name[row]) : null),
        h("p", { class: "sub" },
          `${data.name[row]} · rank ${saers.whole(data.rank[row])} · `,
          h("i", { class: "dot", style: `background:${saers.clusterColour(data.cluster[row])}` }),
          saers.clusterName(data.cluster[row]))),
      h("div", { class: "steps" }, step(-1, "‹", "Previous feature"), step(1, "›", "Next feature")));
  }

  function numbers(row) {
    const tile = (label, value, hint) => h("div", { title: hint },
      h("dt", {}, label), h("dd", {}, value));
    const density = data.density[row];
    return h("dl", { class: "tiles" },
      tile("Density", saers.percent(density),
        density > 0 ? `Fires at 1 in ${saers.whole(Math.round(1 / density))} encoded positions` : "Never fires"),
      tile("Positions", saers.whole(data.n_nonzero[row]), "Encoded positions where the feature is above 0"),
      tile("Mean", saers.number(data.mean_activation[row]), "Mean activation over the positions where it fires"),
      tile("Highest", saers.number(data.max_activation[row]), "Highest activation"),
      tile("Seqlets", saers.whole(data.n_seqlets[row]), "Places of highest activation that were kept"),
      tile("Above half", saers.whole(data.n_above_half[row]), "Seqlets above half of the mean activation"));
  }

  function message(row) {
    let text = null;
    if (data.n_nonzero[row] === 0) {
      text = "This feature is dead: it fired at none of the encoded positions, so there is nothing to show.";
    } else if (!data.selected[row]) {
      text = "This feature was not selected: it fires at too few positions, or too few of its seqlets are strong. No motif was sought.";
    } else if (!known(data.thumb[row])) {
      text = "No motif was found in the seqlets of this feature.";
    }
    return text && h("p", { class: "notice" }, text);
  }

  // ---- motifs

  function motifs(list, targets) {
    return h("section", { class: "motifs" }, list.map((motif, i) => {
      const matrix = saers.decode(motif.pfm);
      const step = Math.max(8, Math.min(22, 290 / matrix.length));
      const strand = (name, turned) => h("figure", {},
        h("figcaption", {}, name),
        saers.logo(turned, { label: motif.consensus, step, height: 80 }));
      return section(`Motif ${i + 1}`, facts(motif),
        h("div", { class: "strands" },
          strand("Forward", matrix), strand("Reverse complement", saers.turn(matrix))),
        motif.matches && motif.matches.length ? matches(matrix, motif.matches, targets)
          : h("p", { class: "none" }, "No known motif is like it."));
    }));
  }

  const sign = (strand) => (strand === "-" ? "−" : strand);

  const facts = (motif) => [
    h("code", {}, motif.consensus),
    ` · E ${saers.power(motif.log10_evalue)} · ${saers.whole(motif.n_sites)} sites · ` +
    `${motif.width} bp · ${motif.engine}`,
  ];

  function matches(matrix, list, targets) {
    const figure = h("div", { class: "compare" });
    const choose = (match, line) => {
      const [id, name, , , , offset, overlap, orientation] = match;
      const target = targets[id] && saers.decode(targets[id]);
      figure.replaceChildren(...(target ? [
        h("p", { class: "note", title: `${overlap} columns overlap` }, "Motif above, ",
          h("b", {}, name || id), orientation === "-" ? " (reverse)" : "", " below"),
        saers.alignment(matrix, orientation === "-" ? saers.turn(target) : target, offset),
      ] : []));
      for (const other of body.children) other.setAttribute("aria-selected", String(other === line));
    };
    const body = h("tbody", {}, list.map((match) => {
      const [id, name, p, e, q, offset, , orientation] = match;
      const line = h("tr", {
        class: saers.significant(q) ? "choice" : "choice fade", tabindex: 0, title: `p ${saers.small(p)}; choose it to see the alignment`,
        click: () => choose(match, line),
        keydown: (event) => { if (event.key === "Enter") choose(match, line); },
      }, h("td", {}, h("b", {}, name || id), " ", h("small", {}, name && name !== id ? id : "")),
      [["wide ", p], ["", e], ["", q]].map(([wide, value]) =>
        h("td", { class: `${wide}right` }, saers.small(value))),
      h("td", { class: "right" }, saers.number(offset)),
      h("td", { class: "centre" }, sign(orientation)));
      return line;
    }));
    choose(list[0], body.firstChild);
    return h("div", { class: "matches" },
      h("table", {}, head(["Known motif", "p|wide right", "E|right", "q|right", "Offset|right",
        "Strand|centre"]), body), figure);
  }

  const head = (names) => h("thead", {}, h("tr", {}, names.map((name) => {
    const [label, style] = name.split("|");
    return h("th", { scope: "col", class: style }, label);
  })));

  // ---- enrichment and relatives

  function enrichment({ classes, n_classes: total }) {
    const most = Math.max(1, ...classes.map((entry) => Math.abs(Math.log2(Math.max(entry[5], 0.03)))));
    const line = ([annotation, name, observed, expected, z, fold, q]) => {
      const size = Math.log2(Math.max(fold ?? 0, 0.03)) / most * 50;
      const bar = size >= 0 ? `left:50%;width:${size}%` : `left:${50 + size}%;width:${-size}%`;
      return h("tr", { class: saers.significant(q) ? "" : "fade", title:
        `${annotation}: ${saers.whole(observed)} seqlets, ${saers.number(expected)} expected` },
      h("td", {}, name, " ", h("small", {}, annotation)),
      h("td", { class: "bar" }, h("i", { class: size >= 0 ? "up" : "down", style: bar })),
      h("td", { class: "right" }, saers.number(fold)),
      h("td", { class: "right" }, known(z) ? z.toFixed(1).replace("-", "−") : "–"),
      h("td", { class: "right" }, saers.small(q)));
    };
    const body = h("tbody", {}, classes.slice(0, 10).map(line));
    const rest = classes.length - 10;
    const more = rest > 0 ? h("button", { type: "button", class: "button small", click: () => {
      body.append(...classes.slice(10).map(line));
      more.remove();
    } }, `Show ${rest} more`) : null;
    const note = total > classes.length ? `highest ${classes.length} of ${saers.whole(total)} classes`
      : "seqlets against random placements";
    return section("Annotation", note, h("table", {},
      head(["Class", "log₂ fold|centre", "Fold|right", "z|right", "q|right"]), body), more);
  }

  function relatives(list) {
    const most = list[0][1] || 1;
    const body = h("tbody", {}, list.filter(([other]) => saers.rowOf.has(other)).slice(0, 10)
      .map(([other, jaccard, overlaps]) => {
        const row = saers.rowOf.get(other);
        return h("tr", { title: `${saers.whole(overlaps)} overlapping pairs of seqlets` },
          h("td", {}, h("a", { href: `#f=${other}` }, String(other)),
            " ", h("small", {}, saers.named(row) ? data.match_name[row] : "")),
          h("td", {}, data.thumb[row]
            ? saers.thumbnail(data.thumb[row], data.consensus[row], { width: 96, height: 24 }) : null),
          h("td", { class: "bar share" }, h("i", { class: "up", style: `left:0;width:${jaccard / most * 100}%` })),
          h("td", { class: "right" }, saers.number(jaccard)));
      }));
    return section("Related features", "shared base pairs of their seqlets",
      h("table", {}, head(["Feature", "Motif", "", "Jaccard|right"]), body));
  }

  // ---- effects on tracks

  const EDITS = { ablate: "taken away", scale: "scaled by ", clamp: "held at " };
  const edited = () => {
    const [kind, amount] = (data.meta.edit || "").split("=");
    return `${EDITS[kind] || "changed"}${amount || ""}`;
  };

  // A bar from 0 to a value, and a line over its interval; shares of the widest one.
  function whiskers(value, low, high, most, signed) {
    const at = (x) => (signed ? 50 + x / most * 50 : x / most * 100);
    const between = (from, to) => `left:${Math.min(from, to)}%;width:${Math.abs(to - from)}%`;
    return h("td", { class: signed ? "bar" : "bar share" },
      h("i", { class: value >= 0 ? "up" : "down", style: between(at(0), at(value)) }),
      known(low) && known(high) ? h("b", { style: between(at(low), at(high)) }) : null);
  }

  const widest = (list) => Math.max(...list.flatMap((entry) => entry.slice(2, 5).filter(known)
    .map(Math.abs)), Number.MIN_VALUE);

  function listed(list, line) {
    const body = h("tbody", {}, list.slice(0, 12).map(line));
    const more = list.length > 12 ? h("button", { type: "button", class: "button small", click: () => {
      body.append(...list.slice(12).map(line));
      more.remove();
    } }, `Show ${list.length - 12} more`) : null;
    return [body, more];
  }

  const track = (name, assay) => h("td", {}, name, " ", h("small", {}, assay));

  function effects({ effects: list, changed: [active, windows], strip }) {
    const most = widest(list);
    const [body, more] = listed(list, ([name, assay, effect, low, high, log2, q]) =>
      h("tr", { class: saers.significant(q) ? "" : "fade",
        title: `${name}: 95 % of resampled windows between ${saers.number(low)} and ${saers.number(high)}` },
      track(name, assay), whiskers(effect, low, high, most, true),
      h("td", { class: "right" }, saers.number(effect)),
      h("td", { class: "wide right" }, saers.number(log2)),
      h("td", { class: "right" }, saers.small(q))));
    const note = `change of the output when the feature is ${edited()}; it was in ` +
      `${saers.whole(active)} of ${saers.whole(windows)} windows`;
    return section("Effect on tracks", note, stripOf(strip), h("table", {},
      head(["Track", "Mean change, 95 % interval|centre", "Change|right", "log₂|wide right", "q|right"]), body), more);
  }

  // All tracks, by assay; a cell has the colour of the one that moves most.
  function stripOf([most, letters]) {
    const cells = saers.steps(letters).map((step) => (step - 31) / 31);
    let first = 0;
    return h("div", { class: "strip" }, data.meta.strip.map(([assay, width, tracks]) => {
      const own = cells.slice(first, first + width);
      first += width;
      return h("figure", { style: `flex:${width} 1 0`, title: `${assay || "all"}: ${saers.whole(tracks)} tracks, ±${saers.number(most)} at full colour` },
        s("svg", { viewBox: `0 0 ${width} 1`, preserveAspectRatio: "none", role: "img", "aria-label": `Effects on tracks of ${assay || "all assays"}` },
          own.map((share, i) => s("rect", { x: i, y: 0, width: 1.02, height: 1,
            class: share >= 0 ? "up" : "down", "fill-opacity": Math.abs(share).toFixed(2) }))),
        h("figcaption", {}, assay || "all tracks", " ", h("small", {}, saers.whole(tracks))));
    }));
  }

  function shuffled({ shuffled: list, n_shuffled: n }) {
    const most = widest(list);
    const [body, more] = listed(list, ([name, assay, distance, low, high]) =>
      h("tr", { title: `${name}: 95 % of resampled seqlets between ${saers.number(low)} and ${saers.number(high)}` },
        track(name, assay), whiskers(distance, low, high, most, false),
        h("td", { class: "right" }, saers.number(distance))));
    return section("Shuffled seqlets",
      `how far the outputs move when the middle of ${saers.whole(n)} seqlets is shuffled`,
      h("table", {}, head(["Track", "logD2, 95 % interval|centre", "logD2|right"]), body), more);
  }

  // ---- seqlets

  function histogram({ low, high, counts }, mean) {
    const width = 300;
    const height = 46;
    const most = Math.max(...counts, 1);
    const step = width / counts.length;
    const bars = counts.map((count, i) => s("rect", {
      x: (i * step + 0.5).toFixed(1), width: (step - 1).toFixed(1),
      y: (height - count / most * height).toFixed(1), height: (count / most * height).toFixed(1),
    }, s("title", {}, `${saers.number(low + (high - low) / counts.length * i)} and above: ${saers.whole(count)} seqlets`)));
    return h("figure", { class: "histogram" },
      s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", preserveAspectRatio: "none",
        "aria-label": `Activations of the seqlets, from ${saers.number(low)} to ${saers.number(high)}` }, bars),
      h("figcaption", {}, h("span", {}, saers.number(low)),
        h("span", {}, `activation of the seqlets (mean of the feature ${saers.number(mean)})`),
        h("span", {}, saers.number(high))));
  }

  function seqlets(row, details) {
    const motif = details.motifs && details.motifs[0];
    const matrix = motif && saers.decode(motif.pfm);
    const body = h("tbody");
    const write = () => body.replaceChildren(...details.seqlets.map((seqlet, i) =>
      seqletLine(seqlet, i, aligned ? matrix : null, details.seqlets[0][4])));
    write();
    const toggle = matrix ? h("label", { class: "inline" },
      h("input", { type: "checkbox", ...(aligned ? { checked: true } : {}), change: (event) => {
        aligned = event.target.checked;
        write();
      } }), "Align to motif 1") : null;
    const note = details.seqlets.length < data.n_seqlets[row]
      ? `strongest ${details.seqlets.length} of ${saers.whole(data.n_seqlets[row])}` : null;
    const card = section("Seqlets", note,
      details.histogram && details.histogram.counts.length ? histogram(details.histogram, data.mean_activation[row]) : null,
      h("div", { class: "scroll" }, h("table", { class: "seqlets" },
        head(["#|right", "Place", "Strand|centre", "Activation|right", "", "Sequence"]), body)));
    if (toggle) card.firstChild.append(h("span", { class: "spacer" }), toggle);
    return card;
  }

  function seqletLine([chrom, start, end, strand, activation, sequence], i, matrix, most) {
    return h("tr", {},
      h("td", { class: "right" }, String(i + 1)),
      h("td", {}, h("code", { class: "place" }, `${chrom}:${start}-${end}`)),
      h("td", { class: "centre" }, sign(strand)),
      h("td", { class: "right" }, saers.number(activation)),
      h("td", { class: "bar share" }, h("i", { class: "up", style: `left:0;width:${most > 0 ? activation / most * 100 : 0}%` })),
      h("td", { class: "sequence" }, sequenceCell(sequence, matrix)));
  }

  function sequenceCell(sequence, matrix) {
    const site = matrix && saers.bestSite(matrix, sequence);
    if (!site) return saers.letters(sequence);
    const turned = site.reverse ? saers.turnText(sequence) : sequence;
    const start = site.reverse ? sequence.length - site.start - matrix.length : site.start;
    const first = start - FLANK;
    const cut = turned.slice(Math.max(0, first), start + matrix.length + FLANK);
    const box = start - Math.max(0, first);
    return [
      h("span", { class: "turned", title: site.reverse ? "read on the reverse strand" : "read on the forward strand" },
        site.reverse ? "←" : "→"),
      " ".repeat(Math.max(0, -first)),
      site.score > 0 ? saers.letters(cut, [box, box + matrix.length]) : saers.letters(cut),
    ];
  }
})();
