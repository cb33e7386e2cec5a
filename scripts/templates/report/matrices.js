// Confusion matrices: tables, so that they need no other form for those who do not see the shades.

const MOST_COUNTS = 600; // that are shown at once; beyond, one variant at a time

const summed = (cells, size) => {
  const counts = Array.from({ length: size }, () => new Array(size).fill(0));
  for (const { confusion } of cells) {
    confusion.forEach((row, i) => row.forEach((count, j) => { counts[i][j] += count; }));
  }
  return counts;
};

const matrix = (variant, classes) => {
  const counts = summed(variant.cells, classes.length);
  const head = element("tr", {}, element("td", {}), classes.map((name) => element("th", { scope: "col", title: name }, name)));
  const rows = counts.map((row, number) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count) => {
      const share = total ? count / total : 0;
      const cell = element("td", {}, whole(count), element("small", {}, `${Math.round(100 * share)} %`));
      cell.style.setProperty("--share", share.toFixed(3));
      return cell;
    });
    return element("tr", {}, element("th", { scope: "row", title: classes[number] }, classes[number]), cells);
  });
  return element("div", { class: "matrix scroll", tabindex: "0", role: "region", "aria-label": `Confusion matrix of ${variant.name}` },
    element("table", {}, element("caption", {}, variant.name), element("thead", {}, head), element("tbody", {}, rows)));
};

const drawMatrices = () => {
  const { classes, variants } = current();
  const wanted = byId("confusion-variant").value;
  byId("matrices").replaceChildren(...variants
    .filter(({ name, cells }) => cells.length && (!wanted || name === wanted))
    .map((variant) => matrix(variant, classes)));
};

const fillMatrices = () => {
  const { classes, variants } = current();
  const few = classes.length ** 2 * variants.length <= MOST_COUNTS;
  fillSelect(byId("confusion-variant"), [...(few ? [["", "all"]] : []), ...variantPairs(variants)]);
  drawMatrices();
};
