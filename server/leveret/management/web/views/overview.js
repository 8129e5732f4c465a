/** The broker as a whole. */

import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number } from "../lib/format.js";
import { watch } from "../lib/live.js";
import { facts, pageHead } from "../lib/page.js";

export function title() {
  return "Overview";
}

/** @param {HTMLElement} container */
export function render(container) {
  const body = h("div");
  container.append(pageHead("Overview"), body);
  return watch(
    "/api/overview",
    (overview) =>
      morph(
        body,
        facts(
          Object.entries(overview.object_totals).map(([name, value]) => [
            name,
            number(/** @type {number} */ (value)),
          ]),
        ),
      ),
    (error) => morph(body, h("div", { class: "problem" }, errorText(error))),
  );
}
