// Figures: the specifications that the SVG files are made of, drawn in the colours of the page when
// they come into view, and again when what they show changes.

const figures = [];
const LEGEND_COLUMN = 210, NARROW = 500; // pixels

/** The plotting library; its source is text in the page until the first figure needs it. */
const vega = () => {
  if (!window.vegaEmbed) {
    const script = element("script");
    script.textContent = byId("library").textContent;
    document.head.append(script);
  }
  return window.vegaEmbed;
};

/** A specification with the colours of the page as it is now. */
const themed = (spec) => {
  const { series, ink, muted, paper, line } = colours();
  const now = [...series, ink, muted, paper, line];
  const shades = new Map(data.palette.map((shade, place) => [shade, now[place]]));
  return JSON.parse(JSON.stringify(spec), (_, value) => shades.get(value) ?? value);
};

/** Add a figure to the page: id, title, caption, empty, across, one_at_a_time as the stage wrote them. */
const addFigure = (figure) => {
  figure.select = element("select", { id: `${figure.id}-panel` });
  figure.select.addEventListener("change", () => draw(figure));
  figure.plotArea = element("div", { class: figure.across > 2 && !figure.one_at_a_time ? "plot small" : "plot", role: "img" });
  figure.tableArea = element("div");
  figure.details = element("details", {}, element("summary", {}, "As a table"), figure.tableArea);
  figure.details.addEventListener("toggle", () => drawTable(figure));
  const chooser = element("label", { for: figure.select.id }, element("span", {}, "Against"), " ", figure.select);
  byId("figure-list").append(element("figure", { id: `figure-${figure.id}` },
    element("div", { class: "figure-head" }, element("h3", {}, figure.title), figure.one_at_a_time && chooser),
    element("figcaption", {}, figure.caption), figure.plotArea, figure.details));
  figures.push(figure);
  watcher.observe(figure.plotArea);
};

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const figure = figures.find(({ plotArea }) => plotArea === entry.target);
    if (entry.isIntersecting && !figure.drawn) draw(figure);
  }
}, { rootMargin: "150px" });

const partOf = (figure) => current().figures[figure.id];

const fillChoices = (figure) =>
  fillSelect(figure.select, partOf(figure).panels.map(({ title }, place) => [String(place), title.text]));

const draw = (figure) => {
  figure.drawn = true;
  const { panels } = partOf(figure);
  const shown = figure.one_at_a_time ? panels.filter((_, place) => String(place) === figure.select.value) : panels;
  figure.plotArea.setAttribute("aria-label", `${figure.title}, dataset ${state.dataset}. The figures follow as a table.`);
  figure.views?.forEach((view) => view.then((made) => made.finalize()));
  const places = shown.map(() => element("div"));
  figure.plotArea.replaceChildren(...places, ...(shown.length ? [] : [element("p", { class: "absent" }, figure.empty)]));
  figure.views = shown.map((spec, place) => drawPanel(places[place], spec));
  drawTable(figure);
};

/** Draw a panel as wide as its place; `ast`: expressions are interpreted, since the policy runs no text. */
const drawPanel = (place, spec) => {
  const width = place.clientWidth;
  const config = themed(data.vega_config);
  Object.assign(config.legend, { orient: "bottom", columns: Math.max(1, Math.floor(width / LEGEND_COLUMN)), labelLimit: width - 60 });
  Object.assign(config.axis, { labelLimit: width < NARROW ? width * 0.42 : 320 });
  const fitted = { ...themed(spec), width: "container", autosize: { type: "fit-x", contains: "padding" }, background: "transparent" };
  return vega()(place, fitted, { actions: false, ast: true, config, renderer: "svg", tooltip: { theme: isDark() ? "dark" : "light" } });
};

const drawTable = (figure) => {
  if (!figure.details.open) return;
  const { header, rows } = partOf(figure);
  figure.tableArea.replaceChildren(plainTable(figure.title, header, rows));
};

/** Draw again what has been drawn. */
const redraw = () => figures.filter(({ drawn }) => drawn).forEach(draw);

/** Draw again when the window becomes wider or narrower; that of a phone changes its height alone. */
const watchWidth = () => {
  let width = innerWidth;
  addEventListener("resize", settled(() => {
    if (innerWidth === width) return;
    width = innerWidth;
    redraw();
  }));
};

const startFigures = () => data.figures.forEach(addFigure);
