// One key, one thing on the page: whatever carries it in `data-key` is clicked, in `data-focus` is given the focus.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const field = event.target.closest("input, textarea, select, [contenteditable]");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    const key = event.key === " " ? "space" : event.key.toLowerCase();
    if (key !== "m" && document.querySelector(".q-dialog__inner")) return;
    const wanted = `~="${CSS.escape(key)}"]`;
    const button = document.querySelector(`[data-key${wanted}`);
    const place = document.querySelector(`[data-focus${wanted}`);
    if (!button && !place) return;
    event.preventDefault();
    event.stopPropagation();
    if (button) button.click();
    else (place.matches("input") ? place : place.querySelector("input") || place).focus();
  },
  true,
);
document.addEventListener("click", (event) => {
  // A button that was clicked gives the focus back, so that space mutes and does not click it again.
  const button = event.target.closest("button, .q-tab");
  if (button && event.detail > 0) button.blur();
});
