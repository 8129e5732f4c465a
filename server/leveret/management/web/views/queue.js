/** One queue. */

import { pageHead } from "../lib/page.js";

/** @param {import("../views.js").Params} params */
export function title(params) {
  return params.name ?? "";
}

/**
 * @param {HTMLElement} container
 * @param {import("../views.js").Params} params
 */
export function render(container, params) {
  container.append(pageHead(params.name ?? ""));
}
