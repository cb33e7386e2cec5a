// Put together: what is drawn at once, what waits until it is in view, what follows the dataset.

/** Run a function when an element first comes near the view; later calls of the result run it too. */
const whenNear = (target, run) => {
  let near = false;
  const observer = new IntersectionObserver((entries) => {
    if (near || !entries.some((entry) => entry.isIntersecting)) return;
    near = true;
    observer.disconnect();
    run();
  }, { rootMargin: "300px" });
  observer.observe(target);
  return (force = false) => {
    if (!near && !force) return;
    near = true;
    run();
  };
};

const showDataset = (updates) => {
  for (const place of document.querySelectorAll("[data-dataset-name]")) place.textContent = state.dataset;
  figures.forEach(fillChoices);
  redraw();
  updates.forEach((update) => update());
};

/** Everything is on paper, on light paper; the reader's own choice comes back afterwards. */
const startPrinting = (updates) => {
  let theme;
  let closed = [];
  addEventListener("beforeprint", () => {
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => { details.open = !details.closest("figure"); });
    figures.forEach(draw);
    updates.forEach((update) => update(true));
  });
  addEventListener("afterprint", () => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    closed.forEach((details) => { details.open = false; });
    redraw();
  });
};

const start = () => {
  startTheme();
  fillSelect(byId("dataset"), [...datasets.keys()].map((name) => [name, name]));
  startTable();
  startFigures();
  startRows();
  byId("confusion-variant").addEventListener("change", drawMatrices);
  const updates = [whenNear(byId("confusion"), fillMatrices), whenNear(byId("errors"), fillRows)];
  byId("dataset").addEventListener("change", () => {
    state.dataset = byId("dataset").value;
    showDataset(updates);
  });
  startPrinting(updates);
  watchWidth();
  showDataset(updates);
};

start();
