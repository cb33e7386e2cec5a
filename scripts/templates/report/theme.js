// Light and dark: as the system says, or as the reader does.

const THEME_KEY = "lora-bench-theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";

/** The colours of the style sheet as they are now, by name. */
const colours = () => {
  const probe = element("span", { hidden: true });
  document.body.append(probe);
  const read = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const names = ["paper", "ink", "muted", "line", "accent", "warn"];
  const found = Object.fromEntries(names.map((name) => [name, read(name)]));
  found.series = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => read(`series-${number}`));
  probe.remove();
  return found;
};

/** Storage is refused in some private windows; the choice then lasts as long as the page. */
const remembered = () => {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null;
  }
};

const remember = (theme) => {
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // See above.
  }
};

const showTheme = () => {
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  redraw();
};

const startTheme = () => {
  const chosen = remembered();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  byId("theme").setAttribute("aria-pressed", String(isDark()));
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remember(document.documentElement.dataset.theme);
    showTheme();
  });
  systemDark.addEventListener("change", showTheme);
};
