/** Dark or light: as the system has it, until somebody says otherwise, which is remembered. */

const KEY = "market-gateway.theme";
const system = matchMedia("(prefers-color-scheme: light)");
const listeners = new Set();

export function theme() {
  return remembered() ?? (system.matches ? "light" : "dark");
}

export function toggleTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Storage is off: it holds for this page.
  }
  apply(next);
}

/** @param {() => void} listener */
export function onTheme(listener) {
  listeners.add(listener);
}

function remembered() {
  try {
    const value = localStorage.getItem(KEY);
    return value === "dark" || value === "light" ? value : null;
  } catch {
    return null;
  }
}

/** @param {string} name */
function apply(name) {
  document.documentElement.dataset.theme = name;
  for (const listener of listeners) listener();
}

apply(theme());
system.addEventListener("change", () => apply(theme()));
addEventListener("storage", (event) => event.key === KEY && apply(theme())); // another tab said so
addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("[data-toggle-theme]")) toggleTheme();
});
