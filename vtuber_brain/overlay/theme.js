// The look of bubble and subtitles: a named set of CSS variables, of which single ones may be overridden.

const THEMES = ["glass", "paper", "contrast"];

/** `chosen` by the page's address wins over the voice's `theme`; an unknown name is the first one. */
export function applyTheme(chosen, theme) {
  const root = document.documentElement;
  const name = [chosen, theme?.name].find((candidate) => THEMES.includes(candidate));
  root.dataset.theme = name ?? THEMES[0];
  root.removeAttribute("style");
  for (const [key, value] of Object.entries(theme?.variables ?? {})) {
    if (key.startsWith("--") && !/url|image/i.test(value)) root.style.setProperty(key, value);
  }
}
