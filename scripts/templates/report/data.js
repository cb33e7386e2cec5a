// What the page tells of, and numbers in words.

const data = JSON.parse(byId("data").textContent);
const datasets = new Map(Object.entries(data.datasets));
const state = { dataset: datasets.keys().next().value, metric: data.metric };

const current = () => datasets.get(state.dataset);

/** The metric of a dataset that is meant by one that was asked for: what stands in for it. */
const metricOf = (part, wanted) => (wanted === data.metric ? part.metric : wanted);

/** The metric that variants are compared by on the current dataset. */
const metricNow = () => current().metric;

const lowerIsBetter = (metric) => data.lower_is_better.includes(metric);

const allVariants = [...datasets].flatMap(([dataset, part]) =>
  part.variants.map((variant) => ({ dataset, part, variant })));
const unique = (values) => [...new Set(values)];
const metrics = unique([data.metric, ...allVariants.flatMap(({ variant }) => Object.keys(variant.metrics))]);
const models = unique(allVariants.map(({ variant }) => variant.model).filter((model) => model !== null));

const ABSENT = "–";
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** The sign that a number has once it is rounded: one that rounds to nothing has none. */
const signOf = (value, digits) => (Number(value.toFixed(digits)) === 0 ? "" : value < 0 ? "−" : "+");
const fixed = (value, digits = 3) =>
  (isNumber(value) ? signOf(value, digits).replace("+", "") + Math.abs(value).toFixed(digits) : ABSENT);
const signed = (value, digits) => (isNumber(value) ? signOf(value, digits) + Math.abs(value).toFixed(digits) : ABSENT);

/** A p-value with two digits, down to a thousandth. */
const probability = (p) => {
  if (!isNumber(p)) return ABSENT;
  return p < 0.001 ? "< 0.001" : p < 0.1 ? String(Number(p.toPrecision(2))) : p.toFixed(2);
};

const MOST_DECIMALS = 4;

/**
 * How many decimals an interval supports, by the rule of `decimals` in common/intervals.py: half
 * its width shows two digits where it begins with 1.00 to 3.54, and one above.
 */
const decimals = ({ low, high }) => {
  const half = (high - low) / 2;
  if (!(half > 0)) return MOST_DECIMALS;
  const power = Math.floor(Math.log10(half));
  return Math.min(Math.max(Number((half / 10 ** power).toFixed(2) < 3.55) - power, 0), MOST_DECIMALS);
};
const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-GB") : ABSENT);

/** A number of seconds as people say it. */
const duration = (seconds) => {
  if (!isNumber(seconds)) return ABSENT;
  if (seconds < 120) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
};

/** A number of bytes in the unit that suits it. */
const bytes = (count) => {
  if (!isNumber(count)) return ABSENT;
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), 4);
  const value = count / 1024 ** power;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
};

/** A count in thousands, millions or billions. */
const count = (number) => {
  if (!isNumber(number)) return ABSENT;
  const power = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), 3);
  const value = number / 1000 ** power;
  return `${Number(value.toPrecision(3)).toLocaleString("en-GB")}${["", " k", " M", " G"][power]}`;
};

const COSTS = {
  trainable_parameters: { short: "Parameters", shown: count },
  train_seconds: { short: "Training", shown: duration },
  peak_memory_bytes: { short: "Memory", shown: bytes },
  file_bytes: { short: "File", shown: bytes },
};

const variantPairs = (variants) => variants.map(({ name }) => [name, name]);
const named = (name) => current().variants.find((variant) => variant.name === name);
const bestFirst = (variants) => [...variants].sort((a, b) => a.position - b.position);

/** The metric of a variant: value, low, high and the rest; undefined where it has none. */
const figureOf = (variant, metric = metricNow()) => {
  const found = variant.metrics[metric];
  return found && isNumber(found.value) ? found : undefined;
};

const OPPOSITE = {
  better: "worse", worse: "better", equivalent: "equivalent", open: "open",
  "at least as good": "at most as good", "at most as good": "at least as good",
};

/** The difference of two variants of a dataset, first minus second; undefined if not compared. */
const difference = (part, first, second, metric) => {
  part.index ??= new Map(part.comparisons.map((pair) => [JSON.stringify([pair.a, pair.b, pair.metric]), pair]));
  const found = part.index.get(JSON.stringify([first, second, metric]));
  if (found) return found;
  const turned = part.index.get(JSON.stringify([second, first, metric]));
  return turned && { ...turned, difference: -turned.difference, low: -turned.high, high: -turned.low, outcome: OPPOSITE[turned.outcome] };
};

// Predictions are class numbers in letters of this alphabet, as the stage has written them.
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
const LETTERS = new Map([...ALPHABET].map((letter, number) => [letter, number]));

/** The class numbers in a string. */
const decode = (text, letters) => {
  const numbers = new Uint16Array(text.length / letters);
  for (let row = 0; row < numbers.length; row += 1) {
    for (let place = 0; place < letters; place += 1) {
      numbers[row] = numbers[row] * ALPHABET.length + LETTERS.get(text[row * letters + place]);
    }
  }
  return numbers;
};

/** What most seeds of a variant answer, row by row; between equal counts the first class wins. */
const votes = (part, variant) => {
  const answers = variant.cells.map((cell) => decode(cell.predictions, part.letters));
  if (answers.length === 1) return answers[0];
  const counts = new Uint16Array(part.classes.length);
  return Uint16Array.from(answers[0] ?? [], (_, row) => {
    counts.fill(0);
    for (const answer of answers) counts[answer[row]] += 1;
    return counts.indexOf(Math.max(...counts));
  });
};
