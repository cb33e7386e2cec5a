// The table of all variants: sorted, filtered, compared with one of them.

const sorting = { column: null, descending: false };
const absent = () => element("span", { class: "absent", title: "not on record" }, ABSENT, element("span", { class: "hidden" }, "not on record"));
const split = (shown) => [shown.split(" ")[0], shown.split(" ").slice(1).join(" ")];

const nameCell = ({ dataset, variant }) => [
  variant.variant,
  ...(variant.untrained_head ? [" ", element("span", { class: "tag" }, "untrained head")] : []),
  ...(variant.recommended ? [" ", element("span", { class: "tag accent" }, "recommended")] : []),
  ...["failed", "collapsed"].filter((key) => variant[key].length)
    .flatMap((key) => [" ", element("span", { class: "tag warn" }, failureWords(variant, key))]),
  element("small", { class: "where" }, [variant.model, dataset].filter(Boolean).join(", ")),
];

const failureWords = ({ seeds, ...variant }, key) =>
  `${key}${seeds.length ? ` in ${variant[key].length} of ${seeds.length} seeds` : ""}`;

/** The figure of a row by the metric that is chosen, or by what stands in for it. */
const figureIn = ({ part, variant }) => figureOf(variant, metricOf(part, state.metric));

const valueCell = (row) => {
  const found = figureIn(row);
  if (!found) return absent();
  const [value, rest] = split(found.shown);
  const metric = metricOf(row.part, state.metric);
  return [value, found.seeds_known ? null : "†", element("small", {}, rest), metric !== state.metric && element("small", {}, metric)];
};

const pairOf = ({ part, variant }) => difference(part, variant.name, byId("reference").value, metricOf(part, state.metric));

const differenceCell = (row) => {
  if (row.variant.name === byId("reference").value) return element("span", { class: "absent" }, "itself");
  const pair = pairOf(row);
  if (!pair) return absent();
  const digits = decimals(pair);
  return [
    element("span", { class: `outcome ${pair.outcome.replaceAll(" ", "-")}` }, `${pair.outcome} `, element("span", { class: "nowrap" }, signed(pair.difference, digits))),
    element("small", {}, `${signed(pair.low, digits)} to ${signed(pair.high, digits)}`),
    element("small", { class: "p" }, `p ${probability(pair.p)}, `, element("span", { class: "nowrap" }, `corrected ${probability(pair.p_holm)}`)),
    pair.caution && element("small", { class: "said" }, "caution: see below"),
  ];
};

/** A cost in few letters; the whole number is its title. */
const costCell = (key, cost) => (isNumber(cost) ? element("span", { title: whole(cost) }, COSTS[key].shown(cost)) : absent());

const costColumn = (key) => ({
  title: COSTS[key].short, number: true, value: ({ variant }) => variant.costs?.[key],
  cell: ({ variant }) => costCell(key, variant.costs?.[key]),
});

const COLUMNS = [
  { title: "Variant", head: true, value: ({ variant }) => variant.variant, cell: nameCell },
  { title: "Model", place: true, value: ({ variant }) => variant.model ?? "", cell: ({ variant }) => variant.model ?? ABSENT },
  { title: "Dataset", place: true, value: ({ dataset }) => dataset, cell: ({ dataset }) => dataset },
  { title: "Kind", place: true, value: ({ variant }) => variant.kind, cell: ({ variant }) => variant.kind },
  { title: () => state.metric, number: true, quality: true, value: (row) => figureIn(row)?.value, cell: valueCell },
  { title: "Difference", number: true, quality: true, value: (row) => pairOf(row)?.difference, cell: differenceCell },
  ...Object.keys(COSTS).map(costColumn),
];

/** Numbers stand to the right; what tells where a variant is from moves below its name on a phone. */
const classOf = ({ number, place }) => (number ? "number" : place ? "place" : null);
const titleOf = ({ title }) => (typeof title === "function" ? title() : title);

/** Smaller first; what is absent comes last, whichever way the rest is sorted. */
const compare = (a, b) => {
  const missing = (value) => value === undefined || value === null || value === "";
  if (missing(a) || missing(b)) return { order: missing(a) - missing(b), fixed: true };
  return { order: typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }) };
};

const sorted = (rows) => {
  const { column, descending } = sorting;
  if (!column) return rows;
  return [...rows].sort((a, b) => {
    const { order, fixed: last } = compare(column.value(a), column.value(b));
    return descending && !last ? -order : order;
  });
};

const matching = () => {
  const words = byId("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [dataset, model, kind] = ["dataset", "model", "kind"].map((name) => byId(`filter-${name}`).value);
  return allVariants.filter(({ dataset: own, variant }) =>
    (!dataset || own === dataset) && (!model || variant.model === model) && (!kind || variant.kind === kind)
    && words.every((word) => `${own} ${variant.name} ${variant.variant}`.toLowerCase().includes(word)));
};

const drawHead = () => {
  byId("table").tHead.rows[0].replaceChildren(...COLUMNS.map((column) => {
    const button = element("button", { type: "button" }, titleOf(column));
    button.addEventListener("click", () => sortBy(column));
    const order = sorting.column === column && (sorting.descending ? "descending" : "ascending");
    return element("th", { scope: "col", class: classOf(column), "aria-sort": order }, button);
  }));
};

/** The best come first, of costs the largest, of names the first letter; then the reverse. */
const sortBy = (column) => {
  const largest = column.quality ? !lowerIsBetter(state.metric) : Boolean(column.number);
  sorting.descending = sorting.column === column ? !sorting.descending : largest;
  sorting.column = column;
  drawHead();
  drawBody();
  byId("table").tHead.rows[0].cells[COLUMNS.indexOf(column)].firstChild.focus();
};

/** What must be known to read these rows. */
const notes = (rows) => [
  lowerIsBetter(state.metric) && `Of ${state.metric}, lower is better.`,
  state.metric !== data.metric && `Differences are by ${data.metric}.`,
  ...unique(rows.filter(({ part }) => part.metric !== data.metric).map(({ dataset, part }) => `On ${dataset}, ${part.metric} stands in for ${data.metric}.`)),
  rows.some((row) => figureIn(row)?.seeds_known === false)
    && "† The interval tells of the test rows alone: one seed does not show what another would give.",
  ...unique(rows.map((row) => pairOf(row)?.caution).filter(Boolean)).map((caution) => `Caution: ${caution}.`),
];

const drawBody = () => {
  const rows = sorted(matching());
  byId("table").tBodies[0].replaceChildren(...rows.map((row) => element("tr", {}, COLUMNS.map((column) =>
    element(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: classOf(column) }, column.cell(row))))));
  byId("table-count").textContent = `${rows.length} of ${allVariants.length} variants`;
  byId("table-notes").textContent = notes(rows).filter(Boolean).join(" ");
};

const startTable = () => {
  const any = ["", "all"];
  fillSelect(byId("filter-dataset"), [any, ...[...datasets.keys()].map((name) => [name, name])]);
  fillSelect(byId("filter-model"), [any, ...models.map((name) => [name, name])]);
  fillSelect(byId("filter-kind"), [any, ...unique(allVariants.map(({ variant }) => variant.kind)).map((kind) => [kind, kind])]);
  fillSelect(byId("metric"), metrics.map((name) => [name, name]), data.metric);
  const names = unique(allVariants.map(({ variant }) => variant.name));
  fillSelect(byId("reference"), names.map((name) => [name, name]), names.includes(data.reference) ? data.reference : names[0]);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", settled(() => {
    state.metric = byId("metric").value;
    drawHead();
    drawBody();
  }, 60));
  drawHead();
  drawBody();
};
