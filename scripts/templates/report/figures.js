// Figures are drawn when they come into view, and again when what they show changes.

const figures = [];

/** The plotting library; its source is text in the page until the first figure needs it. */
const plotly = () => {
  if (!window.Plotly) {
    const script = element("script");
    script.textContent = byId("library").textContent;
    document.head.append(script);
  }
  return window.Plotly;
};

/**
 * Add a figure to the page.
 *
 * @param {object} figure id; title; caption; wide; choices: by id, a function that returns pairs of
 *   value and text; plot: a function of the choices, the colours and the width in pixels that returns
 *   traces and layout, or null where there is nothing to draw; table: a function of the choices that returns header and rows.
 */
const addFigure = (figure) => {
  figure.selects = {};
  const labels = Object.entries(figure.choices ?? {}).map(([name, { title }]) => {
    const select = element("select", { id: `${figure.id}-${name}` });
    select.addEventListener("change", () => draw(figure));
    figure.selects[name] = select;
    return element("label", { for: select.id }, element("span", {}, title), " ", select);
  });
  figure.plotArea = element("div", { class: "plot", role: "img" });
  figure.tableArea = element("div");
  figure.details = element("details", {}, element("summary", {}, "As a table"), figure.tableArea);
  figure.details.addEventListener("toggle", () => drawTable(figure));
  const place = element("figure", { id: figure.id, class: figure.wide ? "wide" : null },
    element("div", { class: "figure-head" }, element("h3", {}, figure.title), labels),
    element("figcaption", {}, figure.caption), figure.plotArea, figure.details);
  byId("figure-list").append(place);
  figures.push(figure);
  fillChoices(figure);
  watcher.observe(figure.plotArea);
};

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const figure = figures.find(({ plotArea }) => plotArea === entry.target);
    if (entry.isIntersecting && !figure.drawn) draw(figure);
  }
}, { rootMargin: "150px" });

const fillChoices = (figure) => {
  for (const [name, { pairs }] of Object.entries(figure.choices ?? {})) fillSelect(figure.selects[name], pairs());
};

const chosen = (figure) =>
  Object.fromEntries(Object.entries(figure.selects).map(([name, select]) => [name, select.value]));

/** Names come from data; in Plotly's texts, which know some tags, they are shown letter by letter. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

const draw = (figure) => {
  figure.drawn = true;
  const palette = colours();
  const made = figure.plot(chosen(figure), palette, figure.plotArea.clientWidth);
  figure.plotArea.setAttribute("aria-label", `${figure.title}, dataset ${state.dataset}. The figures follow as a table.`);
  drawTable(figure);
  if (!made) {
    if (window.Plotly) window.Plotly.purge(figure.plotArea);
    figure.plotArea.replaceChildren(element("p", { class: "absent" }, figure.empty));
    return;
  }
  figure.plotArea.querySelector(".absent")?.remove();
  plotly().react(figure.plotArea, made.traces, layout(made.layout ?? {}, palette), { displayModeBar: false, responsive: true });
};

const drawTable = (figure) => {
  if (!figure.details.open) return;
  const { header, rows } = figure.table(chosen(figure));
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

/** What all figures have in common: quiet axes, the page's letters and colours. */
const layout = ({ xaxis = {}, yaxis = {}, ...own }, palette) => {
  const axis = {
    gridcolor: palette.line, linecolor: palette.line, zeroline: false, automargin: true,
    tickfont: { color: palette.muted, size: 12 }, title: { font: { color: palette.muted, size: 12.5 }, standoff: 10 },
  };
  const merge = (mine) => ({ ...axis, ...mine, title: { ...axis.title, text: mine.title ?? "" } });
  return {
    height: 340, margin: { l: 8, r: 16, t: 12, b: 8 }, dragmode: false, hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, color: palette.ink, size: 12.5 },
    hoverlabel: { bgcolor: palette.paper, bordercolor: palette.muted, font: { color: palette.ink } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { color: palette.muted } },
    ...own, xaxis: merge(xaxis), yaxis: merge(yaxis),
  };
};

/** The error bars of the intervals of some figures. */
const bars = (found, colour) => ({
  type: "data", symmetric: false, thickness: 1.3, width: 0, color: colour,
  array: found.map(({ value, high }) => high - value), arrayminus: found.map(({ value, low }) => value - low),
});
