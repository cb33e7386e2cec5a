// The test rows on which variants disagree, a page of them at a time.

const ROWS_PER_PAGE = 20;
const browser = { page: 0, found: [], answers: new Map() };

const RIGHT = [
  ["differ", "A and B differ", (a, b) => a !== b],
  ["a", "A right, B wrong", (a, b, label) => a === label && b !== label],
  ["b", "B right, A wrong", (a, b, label) => b === label && a !== label],
  ["neither", "both wrong", (a, b, label) => a !== label && b !== label],
  ["any", "any two variants differ", null],
];

/** The answers of a variant on all test rows, decoded once. */
const answersOf = (name) => {
  const key = JSON.stringify([state.dataset, name]);
  if (!browser.answers.has(key)) browser.answers.set(key, votes(current(), named(name)));
  return browser.answers.get(key);
};

const labelsOf = (part) => (part.labelNumbers ??= decode(part.labels, part.letters));

/** How many variants are right on each row. */
const rightCounts = (part) => {
  if (part.right) return part.right;
  const labels = labelsOf(part);
  part.right = new Uint16Array(labels.length);
  for (const { name } of part.variants) answersOf(name).forEach((answer, row) => { part.right[row] += answer === labels[row]; });
  return part.right;
};

/** Which rows have a variant that answers otherwise than the first. */
const differing = (part) => {
  if (part.differing) return part.differing;
  const [first, ...others] = part.variants.map(({ name }) => answersOf(name));
  part.differing = first.map((answer, row) => Number(others.some((other) => other[row] !== answer)));
  return part.differing;
};

const findRows = () => {
  const part = current();
  const [a, b, labels] = [answersOf(byId("row-a").value), answersOf(byId("row-b").value), labelsOf(part)];
  const test = RIGHT.find(([key]) => key === byId("row-right").value)[2];
  const wanted = byId("row-label").value;
  const words = byId("row-text").value.toLowerCase();
  browser.found = [];
  labels.forEach((label, row) => {
    const fits = test ? test(a[row], b[row], label) : differing(part)[row];
    if (!fits || (wanted && Number(wanted) !== label)) return;
    if (words && !part.texts[row]?.toLowerCase().includes(words)) return;
    browser.found.push(row);
  });
  browser.page = 0;
  showPage();
};

const answerLine = (title, name, row) => {
  const part = current();
  const answer = answersOf(name)[row];
  const right = answer === labelsOf(part)[row];
  return element("div", {}, element("dt", {}, `${title}: ${name}`),
    element("dd", { class: right ? "right" : "wrong" }, part.classes[answer], element("span", { class: "hidden" }, right ? " (right)" : " (wrong)")));
};

const rowItem = (row) => {
  const part = current();
  const text = part.texts[row];
  return element("li", {},
    text === undefined
      ? element("p", { class: "text absent" }, "The text of this row is not in the page.")
      : element("p", { class: "text", dir: "auto" }, text),
    element("dl", {},
      element("div", {}, element("dt", {}, "true label"), element("dd", {}, part.classes[labelsOf(part)[row]])),
      answerLine("A", byId("row-a").value, row), answerLine("B", byId("row-b").value, row),
      element("div", {}, element("dt", {}, "right"), element("dd", {}, `${rightCounts(part)[row]} of ${part.variants.length} variants`)),
      element("div", {}, element("dt", {}, "row"), element("dd", {}, part.ids[row]))));
};

const showPage = () => {
  const { found, page } = browser;
  const pages = Math.max(Math.ceil(found.length / ROWS_PER_PAGE), 1);
  byId("row-list").replaceChildren(...found.slice(page * ROWS_PER_PAGE, (page + 1) * ROWS_PER_PAGE).map(rowItem));
  byId("row-count").textContent = `${whole(found.length)} of ${whole(current().rows)} test rows`;
  byId("row-page").textContent = `Page ${page + 1} of ${pages}`;
  byId("row-previous").disabled = page === 0;
  byId("row-next").disabled = page + 1 >= pages;
};

const turnPage = (by) => {
  browser.page += by;
  showPage();
  byId("errors").scrollIntoView();
};

/** Say what the page leaves out, or nothing. */
const notice = ({ disputed, texts, texts_cut: cut }) => {
  const kept = Object.keys(texts).length;
  return [
    kept < disputed && `To keep the page small, it holds the texts of ${whole(kept)} of the ${whole(disputed)} rows on which cells disagree: those on which the trained ones are most divided.`,
    cut > 0 && `${whole(cut)} long texts are cut; a cut one ends in “…”.`,
  ].filter(Boolean).join(" ");
};

/** A and B at first: the best variant, and the strongest baseline or else the next best. */
const firstPair = (variants) => {
  const best = bestFirst(variants);
  const rival = best.find((variant) => variant.kind === "baseline" && variant !== best[0]) ?? best[1] ?? best[0];
  return [best[0].name, rival.name];
};

const fillRows = () => {
  const part = current();
  const withAnswers = part.variants.filter(({ cells }) => cells.length);
  const [a, b] = firstPair(withAnswers);
  fillSelect(byId("row-a"), variantPairs(withAnswers), a);
  fillSelect(byId("row-b"), variantPairs(withAnswers), b);
  fillSelect(byId("row-label"), [["", "all"], ...part.classes.map((name, number) => [String(number), name])]);
  byId("row-notice").textContent = notice(part);
  findRows();
};

const startRows = () => {
  fillSelect(byId("row-right"), RIGHT.map(([key, title]) => [key, title]), "differ");
  byId("row-filters").addEventListener("submit", (event) => event.preventDefault());
  byId("row-filters").addEventListener("input", settled(findRows));
  byId("row-previous").addEventListener("click", () => turnPage(-1));
  byId("row-next").addEventListener("click", () => turnPage(1));
};
