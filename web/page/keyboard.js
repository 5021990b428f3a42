/** Keys of the page, and the dialog that lists them. Keys mean nothing while somebody types. */

/** @param {Record<string, () => void>} actions by key @param {HTMLDialogElement} dialog */
export function keyboard(actions, dialog) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || dialog.open) return;
    const action = event.key === "?" ? () => dialog.showModal() : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
}

/** @param {EventTarget | null} target */
function typing(target) {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}
