// The figures, one by one.

const MOST_BESIDE = 12; // variants of a figure that shares its line with another
const SYMBOLS = { base: "circle-open", head: "diamond", adapter: "circle", full: "square", baseline: "line-ns" };
const DASHES = { head: "dot", full: "dash" };

const colourOf = (model, palette) => palette.series[models.indexOf(model) % palette.series.length];
const interval = ({ value, low, high }) => {
  const digits = decimals({ low, high });
  return `${fixed(value, digits)} (${fixed(low, digits)} to ${fixed(high, digits)})`;
};
const trained = () => current().variants.filter(({ kind }) => kind !== "baseline");

/** Of points (x the smaller the better, y the larger the better), those that no other one beats. */
const paretoFront = (points) => {
  let best = -Infinity;
  return [...points].sort((a, b) => a.x - b.x || b.y - a.y).filter(({ y }) => {
    const better = y > best;
    best = Math.max(best, y);
    return better;
  });
};

/** The variants that have both a cost and a figure. */
const priced = (cost) => trained()
  .map((variant) => ({ variant, x: variant.costs[cost], found: figureOf(variant) }))
  .filter(({ x, found }) => isNumber(x) && x > 0 && found)
  .map((point) => ({ ...point, y: point.found.value }));

/** Baselines as dotted lines; one far below all points would press them together, and is left out. */
const baselineLines = (points, palette) => {
  const lowest = Math.min(...points.map(({ found }) => found.low));
  const highest = Math.max(...points.map(({ found }) => found.high));
  const shown = current().variants.filter((variant) =>
    variant.kind === "baseline" && figureOf(variant)?.value > lowest - (highest - lowest) / 2);
  const line = ({ value }) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: palette.muted, width: 1, dash: "dot" } });
  const label = ({ value }, name) => ({
    xref: "paper", x: 0, xanchor: "left", y: value, yanchor: "bottom", showarrow: false, text: plain(name), font: { size: 11, color: palette.muted },
  });
  return {
    shapes: shown.map((variant) => line(figureOf(variant))),
    annotations: shown.map((variant) => label(figureOf(variant), variant.name)),
  };
};

/** An axis of costs over their logarithm, with room at its ends and a few round numbers on it. */
const costAxis = (values, { title, shown, base }) => {
  const [first, last] = [Math.min(...values), Math.max(...values)];
  const room = Math.max((last / first) ** 0.06, 1.15);
  const [low, high] = [first / room, last * room];
  const wide = Math.log10(high / low) > 2;
  const steps = base === 2 || wide ? [1] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log(low) / Math.log(base)); base ** power <= high; power += 1) {
    ticks.push(...steps.map((step) => step * base ** power).filter((tick) => tick >= low && tick <= high));
  }
  const some = ticks.filter((_, index) => index % Math.ceil(ticks.length / 8) === 0);
  return { type: "log", title, range: [Math.log10(low), Math.log10(high)], tickvals: some, ticktext: some.map(shown) };
};

const costFigure = {
  id: "costs", title: "Quality against cost", wide: true,
  caption: "Figures with their intervals; the line is the Pareto front: no variant is both cheaper and better. Dotted lines are baselines, but for those far below.",
  empty: "No variant of this dataset has both a cost and a figure.",
  choices: { cost: { title: "Cost", pairs: () => Object.entries(COSTS).map(([key, { title }]) => [key, title]) } },
  plot: ({ cost }, palette) => {
    const points = priced(cost);
    if (!points.length) return null;
    const front = paretoFront(points);
    const few = points.length <= 14;
    const costs = points.map(({ x }) => x);
    const middle = Math.sqrt(Math.min(...costs) * Math.max(...costs));
    const traces = unique(points.map(({ variant }) => variant.model)).map((model) => {
      const own = points.filter(({ variant }) => variant.model === model);
      const colour = colourOf(model, palette);
      return {
        type: "scatter", mode: few ? "markers+text" : "markers", name: plain(model),
        x: own.map(({ x }) => x), y: own.map(({ y }) => y), error_y: bars(own.map(({ found }) => found), colour),
        marker: { color: colour, size: 10, symbol: own.map(({ variant }) => SYMBOLS[variant.kind]), line: { width: 1.5, color: colour } },
        text: own.map(({ variant }) => plain(variant.variant)), textposition: own.map(({ x }) => (x > middle ? "bottom left" : "bottom right")), textfont: { color: palette.muted, size: 11.5 },
        customdata: own.map(({ variant, x, found }) => `${plain(variant.name)}<br>${interval(found)}<br>${COSTS[cost].shown(x)}`),
        hovertemplate: "%{customdata}<extra></extra>", cliponaxis: false,
      };
    });
    traces.unshift({
      type: "scatter", mode: "lines", name: "Pareto front", x: front.map(({ x }) => x), y: front.map(({ y }) => y),
      line: { color: palette.muted, width: 1.5, shape: "hv" }, hoverinfo: "skip",
    });
    return {
      traces,
      layout: { ...baselineLines(points, palette), height: 420, xaxis: costAxis(costs, COSTS[cost]), yaxis: { title: metricNow() } },
    };
  },
  table: ({ cost }) => {
    const front = new Set(paretoFront(priced(cost)).map(({ variant }) => variant.name));
    return {
      header: ["Variant", metricNow(), COSTS[cost].title, "On the Pareto front"],
      rows: priced(cost).map(({ variant, x, found }) => [variant.name, interval(found), COSTS[cost].shown(x), front.has(variant.name) ? "yes" : "no"]),
    };
  },
};

const seedsFigure = {
  id: "seeds", title: "Seeds", wide: Math.max(...[...datasets.values()].map(({ variants }) => variants.length)) > MOST_BESIDE,
  caption: "Every seed, a dot each, over the interval of the variant. A cross is a collapsed cell: it answers one class for nearly every row.",
  empty: "No variant of this dataset has a figure.",
  plot: (_, palette) => {
    const lines = current().variants.filter((variant) => figureOf(variant)).reverse();
    if (!lines.length) return null;
    const names = lines.map(({ name }) => plain(name));
    const cells = lines.flatMap((variant) => figureOf(variant).cells.map((cell) => ({ variant, ...cell })));
    const isCollapsed = ({ variant, seed }) => variant.collapsed.includes(seed);
    const found = lines.map((variant) => figureOf(variant));
    const error_x = { ...bars(found, palette.line), thickness: 9 };
    return {
      traces: [
        { type: "scatter", mode: "markers", name: "interval", x: found.map(({ value }) => value), y: names, error_x,
          marker: { symbol: "line-ns", size: 16, line: { width: 2, color: palette.ink } },
          customdata: found.map(interval), hovertemplate: "%{y}<br>%{customdata}<extra></extra>" },
        { type: "scatter", mode: "markers", name: "seed", x: cells.map(({ value }) => value), y: cells.map(({ variant }) => plain(variant.name)),
          marker: { size: 9, opacity: 0.75, color: cells.map(({ variant }) => (variant.model === null ? palette.muted : colourOf(variant.model, palette))),
            symbol: cells.map((cell) => (isCollapsed(cell) ? "x" : "circle")) },
          customdata: cells.map((cell) => `seed ${cell.seed ?? "none"}: ${interval(cell)}${isCollapsed(cell) ? ", collapsed" : ""}`),
          hovertemplate: "%{y}<br>%{customdata}<extra></extra>" },
      ],
      layout: {
        height: Math.max(90 + 30 * lines.length, 340), showlegend: false, xaxis: { title: metricNow() },
        yaxis: { type: "category", categoryorder: "array", categoryarray: names, range: [-0.6, names.length - 0.4], showgrid: false, tickfont: { color: palette.ink, size: 12 } },
      },
    };
  },
  table: () => ({
    header: ["Variant", "Seed", metricNow(), "Collapsed"],
    rows: current().variants.flatMap((variant) => (figureOf(variant)?.cells ?? []).map((cell) =>
      [variant.name, String(cell.seed ?? ABSENT), interval(cell), variant.collapsed.includes(cell.seed) ? "yes" : "no"])),
  }),
};

const variantPairs = (variants) => variants.map(({ name }) => [name, name]);
const named = (name) => current().variants.find((variant) => variant.name === name);
const bestFirst = (variants) => [...variants].sort((a, b) => (figureOf(b)?.value ?? -1) - (figureOf(a)?.value ?? -1));
const withLosses = () => bestFirst(current().variants.filter(({ cells }) => cells.some((cell) => cell.train.length || cell.validation.length)));

const curvesFigure = {
  id: "curves", title: "Learning curves", wide: false,
  caption: "Loss by step, a line per seed: on the training rows, and on the validation rows with dots.",
  empty: "No losses were logged on this dataset.",
  choices: { variant: { title: "Variant", pairs: () => variantPairs(withLosses()) } },
  plot: ({ variant }, palette) => {
    const cells = named(variant)?.cells;
    if (!cells) return null;
    const line = (cell, key, index, more) => ({
      type: "scatter", name: key === "train" ? "training" : "validation", legendgroup: key, showlegend: index === 0,
      x: cell[key].map(([step]) => step), y: cell[key].map(([, loss]) => loss),
      hovertemplate: `seed ${cell.seed}, step %{x}: %{y:.4f}<extra>${key}</extra>`, ...more,
    });
    return {
      traces: cells.flatMap((cell, index) => [
        line(cell, "train", index, { mode: "lines", line: { color: palette.series[0], width: 1.6 }, opacity: 0.8 }),
        line(cell, "validation", index, { mode: "lines+markers", line: { color: palette.series[1], width: 1.6, dash: "dot" }, marker: { size: 7 } }),
      ]),
      layout: { xaxis: { title: "step", rangemode: "tozero" }, yaxis: { title: "loss", rangemode: "tozero" } },
    };
  },
  table: ({ variant }) => ({
    header: ["Seed", "Rows", "Step", "Loss"],
    rows: (named(variant)?.cells ?? []).flatMap((cell) => ["train", "validation"].flatMap((key) =>
      cell[key].map(([step, loss]) => [String(cell.seed), key === "train" ? "training" : "validation", String(step), fixed(loss, 4)]))),
  }),
};

/** What the variants of one sweep have in common: their name without the rank at its end. */
const sweepOf = ({ name, adapter_rank: rank }) => (name.endsWith(`-r${rank}`) ? name.slice(0, -`-r${rank}`.length) : name);
const ranked = () => current().variants.filter((variant) => isNumber(variant.adapter_rank) && figureOf(variant));

const ranksFigure = {
  id: "ranks", title: "Rank against quality", wide: false,
  caption: "Figures with their intervals by rank of the adapter; for comparison, head and full fine-tuning of the same model as lines.",
  empty: "No adapter of this dataset has a rank.",
  plot: (_, palette) => {
    const all = ranked();
    if (!all.length) return null;
    const sweeps = unique(all.map(sweepOf)).map((sweep, index) => {
      const own = all.filter((variant) => sweepOf(variant) === sweep).sort((a, b) => a.adapter_rank - b.adapter_rank);
      const found = own.map((variant) => figureOf(variant));
      const colour = palette.series[index % palette.series.length];
      return {
        type: "scatter", mode: "lines+markers", name: plain(sweep), x: own.map(({ adapter_rank }) => adapter_rank), y: found.map(({ value }) => value),
        error_y: bars(found, colour), line: { color: colour, width: 1.6 }, marker: { color: colour, size: 9 },
        customdata: found.map(interval), hovertemplate: "rank %{x}<br>%{customdata}<extra></extra>",
      };
    });
    const ranks = unique(all.map(({ adapter_rank }) => adapter_rank)).sort((a, b) => a - b);
    const ends = [ranks[0] / 1.3, ranks.at(-1) * 1.3];
    const owners = unique(all.map(({ model }) => model));
    const lines = current().variants.filter((variant) => variant.kind in DASHES && owners.includes(variant.model) && figureOf(variant))
      .map((variant) => ({
        type: "scatter", mode: "lines", name: plain(variant.name), x: ends, y: [figureOf(variant).value, figureOf(variant).value],
        line: { color: palette.muted, width: 1.3, dash: DASHES[variant.kind] }, hovertemplate: `${plain(variant.name)}: %{y:.3f}<extra></extra>`,
      }));
    return {
      traces: [...sweeps, ...lines],
      layout: {
        xaxis: { type: "log", title: "rank", tickvals: ranks, ticktext: ranks.map(String), range: ends.map(Math.log10) },
        yaxis: { title: metricNow() },
      },
    };
  },
  table: () => ({
    header: ["Variant", "Rank", metricNow()],
    rows: ranked().map((variant) => [variant.name, String(variant.adapter_rank), interval(figureOf(variant))]),
  }),
};

const calibrated = () => bestFirst(current().variants.filter(({ calibration }) => calibration?.reliability?.length));
const filled = (variant) => (variant?.calibration?.reliability ?? []).filter(({ rows }) => rows > 0);

const reliabilityFigure = {
  id: "reliability", title: "Reliability", wide: false,
  caption: "Share of right answers against confidence, in bins; the size of a dot is the number of rows. Below the diagonal a variant is too sure of itself.",
  empty: "No calibration is on record for this dataset.",
  choices: {
    variant: { title: "Variant", pairs: () => variantPairs(calibrated()) },
    beside: { title: "beside", pairs: () => [["", "none"], ...variantPairs(calibrated())] },
  },
  plot: ({ variant, beside }, palette) => {
    const shown = unique([variant, beside]).map(named).filter(Boolean);
    if (!shown.length) return null;
    const largest = Math.max(...shown.flatMap(filled).map(({ rows }) => rows), 1);
    const traces = shown.map((each, index) => ({
      type: "scatter", mode: "lines+markers", name: `${plain(each.name)}, ECE ${fixed(each.calibration.ece)}, Brier ${fixed(each.calibration.brier)}`,
      x: filled(each).map(({ confidence }) => confidence), y: filled(each).map(({ accuracy }) => accuracy),
      line: { color: palette.series[index], width: 1.6 },
      marker: { color: palette.series[index], opacity: 0.9, size: filled(each).map(({ rows }) => 6 + 20 * Math.sqrt(rows / largest)) },
      customdata: filled(each).map(({ rows }) => whole(rows)), cliponaxis: false,
      hovertemplate: "confidence %{x:.3f}<br>right %{y:.3f}<br>%{customdata} rows<extra></extra>",
    }));
    const diagonal = { type: "scatter", mode: "lines", showlegend: false, x: [0, 1], y: [0, 1], line: { color: palette.muted, width: 1, dash: "dot" }, hoverinfo: "skip" };
    return {
      traces: [diagonal, ...traces],
      layout: { height: 380, showlegend: true, xaxis: { title: "confidence", range: [0, 1.02] }, yaxis: { title: "share of right answers", range: [0, 1.05] } },
    };
  },
  table: ({ variant, beside }) => ({
    header: ["Variant", "Bin", "Confidence", "Right", "Rows"],
    rows: unique([variant, beside]).map(named).filter(Boolean).flatMap((each) => filled(each).map((bin) =>
      [each.name, `${fixed(bin.low, 2)} to ${fixed(bin.high, 2)}`, fixed(bin.confidence), fixed(bin.accuracy), whole(bin.rows)])),
  }),
};

const startFigures = () => [costFigure, seedsFigure, ranksFigure, curvesFigure, reliabilityFigure].forEach(addFigure);
