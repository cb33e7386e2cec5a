// The figures, one by one.

const MOST_BESIDE = 12; // variants of a figure that shares its line with another
const SYMBOLS = { base: "circle-open", head: "diamond", adapter: "circle", full: "square", baseline: "line-ns" };
const DASHES = { head: "dot", full: "dash" };

const colourOf = (model, palette) => palette.series[models.indexOf(model) % palette.series.length];
const interval = ({ value, low, high }) => {
  const digits = decimals({ low, high });
  return `${fixed(value, digits)} (${fixed(low, digits)} to ${fixed(high, digits)})`;
};
/** Of points (cost x and quality y), those that nothing cheaper is as good as, cheapest first. */
const paretoFront = (points) => {
  const sign = lowerIsBetter(metricNow()) ? -1 : 1;
  let best = -Infinity;
  return [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y)).filter(({ y }) => {
    const better = sign * y > best;
    best = Math.max(best, sign * y);
    return better;
  });
};

/** Whether a variant is there to be compared with: a baseline, or a model that comes with a head. */
const isReference = ({ kind, untrained_head: untrained }) => kind === "baseline" || (kind === "base" && !untrained);

/** The variants that cost something and have a figure. */
const priced = (cost) => current().variants
  .filter((variant) => !isReference(variant) && isNumber(variant.costs[cost]) && variant.costs[cost] > 0 && figureOf(variant))
  .map((variant) => ({ variant, x: variant.costs[cost], found: figureOf(variant), y: figureOf(variant).value }));

/** What is drawn as a line; without a cost on record it is the cheapest, as it trains no model. */
const references = (cost) => current().variants.filter((variant) => isReference(variant) && figureOf(variant))
  .map((variant) => ({ variant, x: variant.costs[cost] ?? 0, found: figureOf(variant), y: figureOf(variant).value }));

/** What may be on the front: all but untrained heads, whose answers are drawn by lot. */
const candidates = (cost) => [...references(cost), ...priced(cost).filter(({ variant }) => !variant.untrained_head)];

/** The references to draw; one far worse than all points would press them together, and is left out. */
const nearby = (points, cost) => {
  const [low, high] = endsOf(points);
  const room = (high - low) / 2;
  return references(cost).filter(({ y }) => (lowerIsBetter(metricNow()) ? y < high + room : y > low - room));
};

const endsOf = (points) => [Math.min(...points.map(({ found }) => found.low)), Math.max(...points.map(({ found }) => found.high))];
const REFERENCE_DASHES = ["dot", "dashdot", "dash", "longdash"];

const referenceLines = (shown, [low, high], palette) => shown.map(({ variant, y, found }, index) => ({
  type: "scatter", mode: "lines", name: plain(variant.name), x: [low, high], y: [y, y],
  line: { color: palette.muted, width: 1.2, dash: REFERENCE_DASHES[index % REFERENCE_DASHES.length] },
  hovertemplate: `${plain(variant.name)}<br>${interval(found)}<extra></extra>`,
}));

/** The front as steps, none of them of what is not drawn; what is cheaper than all points begins at the left end. */
const frontLine = (front, drawn, [low, high], palette) => {
  const steps = front.filter(({ variant }) => drawn.has(variant.name)).map(({ x, y }) => [Math.min(Math.max(x, low), high), y]);
  if (steps.length) steps.push([high, steps.at(-1)[1]]);
  return {
    type: "scatter", mode: "lines", name: "Pareto front", x: steps.map(([x]) => x), y: steps.map(([, y]) => y),
    line: { color: palette.muted, width: 1.5, shape: "hv" }, hoverinfo: "skip",
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

/** The rectangle of a label beside a point, in pixels: left, top, right, bottom. */
const labelBox = ({ left, top, label }, place) => {
  const wide = label.length * LETTER_WIDTH;
  const [down, side] = place.split(" ");
  const x = side === "right" ? left + MARKER : left - MARKER - wide;
  const y = down === "bottom" ? top + MARKER : top - MARKER - LETTER_HEIGHT;
  return [x, y, x + wide, y + LETTER_HEIGHT];
};

const LETTER_WIDTH = 7, LETTER_HEIGHT = 14, MARKER = 6; // in pixels; letters are a little narrower
const PLACES = ["bottom right", "bottom left", "top right", "top left"];
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

/**
 * Where the label of each point stands without covering a point, an interval or another label.
 *
 * @param {object[]} points left, top, highest and lowest (of the interval) in pixels; label.
 * @param {number[]} size of the plot, in pixels.
 * @returns {string[]} places, as Plotly names them; empty for a label that fits nowhere.
 */
const labelPlaces = (points, [width, height]) => {
  const taken = points.flatMap(({ left, top, highest, lowest }) =>
    [[left - MARKER, top - MARKER, left + MARKER, top + MARKER], [left - 1, highest, left + 1, lowest]]);
  return points.map((point) => {
    const place = PLACES.find((each) => {
      const box = labelBox(point, each);
      return box[0] >= 0 && box[1] >= 0 && box[2] <= width && box[3] <= height && !taken.some((other) => overlap(box, other));
    });
    if (place) taken.push(labelBox(point, place));
    return place ?? "";
  });
};

/** The points of the cost figure in pixels of a plot, for their labels. */
const inPixels = (points, [left, right], [bottom, top], [width, height]) => {
  const across = (x) => (width * (Math.log10(x) - left)) / (right - left);
  const down = (y) => (height * (top - y)) / (top - bottom);
  return points.map(({ variant, x, y, found }) =>
    ({ left: across(x), top: down(y), highest: down(found.high), lowest: down(found.low), label: variant.variant }));
};

const COST_HEIGHT = 460, AROUND = [90, 170]; // pixels; axes, titles and legend take about so many

const costFigure = {
  id: "costs", title: "Quality against cost", wide: true,
  caption: "Figures with their intervals; lines across are baselines and models that come with a head. The solid line is the Pareto front of all but untrained heads: nothing cheaper is as good. A baseline whose cost is not on record counts as the cheapest. A line far worse than all points, and a name that would cover another, are in the table alone.",
  empty: "No variant of this dataset has both a cost and a figure.",
  choices: { cost: { title: "Cost", pairs: () => Object.entries(COSTS).map(([key, { title }]) => [key, title]) } },
  plot: ({ cost }, palette, width) => {
    const points = priced(cost);
    if (!points.length) return null;
    const lines = nearby(points, cost);
    const xaxis = costAxis(points.map(({ x }) => x), COSTS[cost]);
    const [low, high] = endsOf([...points, ...lines]);
    const range = [low - (high - low) * 0.06, high + (high - low) * 0.06];
    const ends = xaxis.range.map((power) => 10 ** power);
    const size = [Math.max(width - AROUND[0], 100), COST_HEIGHT - AROUND[1]];
    const places = labelPlaces(inPixels(points, xaxis.range, range, size), size);
    const labelled = points.map((point, index) => ({ ...point, place: places[index] }));
    const drawn = new Set([...points, ...lines].map(({ variant }) => variant.name));
    return {
      traces: [
        frontLine(paretoFront(candidates(cost)), drawn, ends, palette),
        ...referenceLines(lines, ends, palette),
        ...unique(points.map(({ variant }) => variant.model)).map((model) =>
          costPoints(labelled.filter(({ variant }) => variant.model === model), cost, colourOf(model, palette), palette)),
      ],
      layout: { height: COST_HEIGHT, xaxis, yaxis: { title: metricInWords(current()), range } },
    };
  },
  table: ({ cost }) => {
    const all = [...references(cost), ...priced(cost)];
    const front = new Set(paretoFront(candidates(cost)).map(({ variant }) => variant.name));
    const place = ({ name, untrained_head: untrained }) => (untrained ? "no: untrained head" : front.has(name) ? "yes" : "no");
    return {
      header: ["Variant", metricInWords(current()), COSTS[cost].title, "On the Pareto front"],
      rows: all.map(({ variant, found }) => [variant.name, interval(found), COSTS[cost].shown(variant.costs[cost]), place(variant)]),
    };
  },
};

/** The points of one model. */
const costPoints = (points, cost, colour, palette) => ({
  type: "scatter", mode: "markers+text", name: plain(points[0].variant.model),
  x: points.map(({ x }) => x), y: points.map(({ y }) => y), error_y: bars(points.map(({ found }) => found), colour),
  marker: { color: colour, size: 10, symbol: points.map(({ variant }) => SYMBOLS[variant.kind]), line: { width: 1.5, color: colour } },
  text: points.map(({ variant, place }) => (place ? plain(variant.variant) : "")),
  textposition: points.map(({ place }) => place || PLACES[0]), textfont: { color: palette.muted, size: 11.5 },
  customdata: points.map(({ variant, x, found }) => `${plain(variant.name)}<br>${interval(found)}<br>${COSTS[cost].shown(x)}`),
  hovertemplate: "%{customdata}<extra></extra>", cliponaxis: false,
});

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
        height: Math.max(90 + 30 * lines.length, 340), showlegend: false, xaxis: { title: metricInWords(current()) },
        yaxis: { type: "category", categoryorder: "array", categoryarray: names, range: [-0.6, names.length - 0.4], showgrid: false, tickfont: { color: palette.ink, size: 12 } },
      },
    };
  },
  table: () => ({
    header: ["Variant", "Seed", metricInWords(current()), "Collapsed"],
    rows: current().variants.flatMap((variant) => (figureOf(variant)?.cells ?? []).map((cell) =>
      [variant.name, String(cell.seed ?? ABSENT), interval(cell), variant.collapsed.includes(cell.seed) ? "yes" : "no"])),
  }),
};

const variantPairs = (variants) => variants.map(({ name }) => [name, name]);
const named = (name) => current().variants.find((variant) => variant.name === name);
const bestFirst = (variants) => [...variants].sort((a, b) => a.position - b.position);
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
const sweepOf = ({ name, rank }) => (name.endsWith(`-r${rank}`) ? name.slice(0, -`-r${rank}`.length) : name);
const ranked = () => current().variants.filter((variant) => isNumber(variant.rank) && figureOf(variant));

const ranksFigure = {
  id: "ranks", title: "Rank against quality", wide: false,
  caption: "Figures with their intervals by rank of the adapter; for comparison, head and full fine-tuning of the same model as lines.",
  empty: "No adapter of this dataset has a rank.",
  plot: (_, palette) => {
    const all = ranked();
    if (!all.length) return null;
    const sweeps = unique(all.map(sweepOf)).map((sweep, index) => {
      const own = all.filter((variant) => sweepOf(variant) === sweep).sort((a, b) => a.rank - b.rank);
      const found = own.map((variant) => figureOf(variant));
      const colour = palette.series[index % palette.series.length];
      return {
        type: "scatter", mode: "lines+markers", name: plain(sweep), x: own.map(({ rank }) => rank), y: found.map(({ value }) => value),
        error_y: bars(found, colour), line: { color: colour, width: 1.6 }, marker: { color: colour, size: 9 },
        customdata: found.map(interval), hovertemplate: "rank %{x}<br>%{customdata}<extra></extra>",
      };
    });
    const ranks = unique(all.map(({ rank }) => rank)).sort((a, b) => a - b);
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
        yaxis: { title: metricInWords(current()) },
      },
    };
  },
  table: () => ({
    header: ["Variant", "Rank", metricInWords(current())],
    rows: ranked().map((variant) => [variant.name, String(variant.rank), interval(figureOf(variant))]),
  }),
};

const calibrated = () => bestFirst(current().variants.filter(({ calibration }) => calibration?.reliability?.length));
const filled = (variant) => (variant?.calibration?.reliability ?? []).filter(({ rows }) => rows > 0);

const reliabilityFigure = {
  id: "reliability", title: "Reliability", wide: false,
  caption: "Share of right answers against confidence, in bins, of the answers of all seeds together; the size of a dot is the number of answers. Below the diagonal a variant is too sure of itself. ECE and Brier score are computed for each seed, and are means over the seeds.",
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
      hovertemplate: "confidence %{x:.3f}<br>right %{y:.3f}<br>%{customdata} answers<extra></extra>",
    }));
    const diagonal = { type: "scatter", mode: "lines", showlegend: false, x: [0, 1], y: [0, 1], line: { color: palette.muted, width: 1, dash: "dot" }, hoverinfo: "skip" };
    return {
      traces: [diagonal, ...traces],
      layout: { height: 380, showlegend: true, xaxis: { title: "confidence", range: [0, 1.02] }, yaxis: { title: "share of right answers", range: [0, 1.05] } },
    };
  },
  table: ({ variant, beside }) => ({
    header: ["Variant", "Bin", "Confidence", "Right", "Answers"],
    rows: unique([variant, beside]).map(named).filter(Boolean).flatMap((each) => filled(each).map((bin) =>
      [each.name, `${fixed(bin.low, 2)} to ${fixed(bin.high, 2)}`, fixed(bin.confidence), fixed(bin.accuracy), whole(bin.rows)])),
  }),
};

const startFigures = () => [costFigure, seedsFigure, ranksFigure, curvesFigure, reliabilityFigure].forEach(addFigure);
