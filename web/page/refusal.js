/** What cannot be shown, in the chart's place, with what could be meant. */

export class Refusal {
  /** @param {HTMLElement} root */
  constructor(root) {
    const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (root.querySelector(`[data-part=${name}]`));
    this.root = root;
    this.parts = { text: part("text"), hint: part("hint"), suggestions: part("suggestions") };
  }

  /** @param {string} text @param {string[]} [suggestions] @param {(suggestion: string) => void} [choose] */
  say(text, suggestions = [], choose = () => {}) {
    this.parts.text.textContent = text;
    this.parts.hint.textContent = suggestions.length ? "Did you mean:" : "Choose another with the search above, or press /.";
    this.parts.suggestions.replaceChildren(...suggestions.slice(0, 8).map((one) => button(one, () => choose(one))));
    this.root.hidden = false;
  }

  clear() {
    this.root.hidden = true;
  }
}

/** @param {string} text @param {() => void} press */
function button(text, press) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = "button";
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}
