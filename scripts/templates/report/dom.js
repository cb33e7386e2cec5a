// Elements. Every text that comes from data goes through here, as text and never as HTML.

const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text nodes, null and false nothing. */
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== false));
  return made;
};

/** Fill a select with pairs of value and text; what was chosen stays chosen where it is left. */
const fillSelect = (select, pairs, chosen = select.value) => {
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value }, text)));
  select.value = pairs.some(([value]) => value === chosen) ? chosen : pairs[0]?.[0] ?? "";
};

/** A plain table: what a figure shows, for those who do not see it. */
const plainTable = (title, header, rows) =>
  element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    element("table", {},
      element("caption", { class: "hidden" }, title),
      element("thead", {}, element("tr", {}, header.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, rows.map((row) => element("tr", {}, row.map((cell) => element("td", {}, cell)))))));

/** Call a function once the last of many events is some milliseconds ago. */
const settled = (run, milliseconds = 120) => {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, milliseconds);
  };
};
