/** Menus below a button. Escape and a click elsewhere close them. */

import { h } from "./dom.js";

/**
 * @param {import("./dom.js").Child} label
 * @param {import("./dom.js").Child} content
 * @param {{[name: string]: any}} [attributes] of the button
 * @returns {HTMLDetailsElement}
 */
export function menu(label, content, attributes) {
  /** @type {HTMLDetailsElement} */
  const element = h(
    "details",
    { class: "menu" },
    h("summary", { ...attributes }, label),
    h("div", { class: "menu-content" }, content),
  );
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && element.open) {
      event.stopPropagation();
      element.open = false;
      element.querySelector("summary")?.focus();
    }
  });
  return element;
}

document.addEventListener("click", (event) => {
  for (const element of document.querySelectorAll("details.menu[open]")) {
    const inside = event.target instanceof Node && element.contains(event.target);
    const chosen = event.target instanceof Element && event.target.closest(".menu-content button");
    if (element instanceof HTMLDetailsElement && (!inside || chosen)) {
      element.open = false;
    }
  }
});
