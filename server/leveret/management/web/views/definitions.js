/** Definitions: download them, or upload a file after a look at what it would change. */

import { get, send, url } from "../lib/api.js";
import { download } from "../lib/copying.js";
import { attempt, errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { compared, entriesOf } from "../lib/definitions.js";
import { rowsOf } from "../lib/listing.js";
import { pageHead, section } from "../lib/page.js";

/** @typedef {import("../views.js").Context} Context */

export const title = () => "Definitions";

const NAMED_MAX = 50;
/** Entries of a kind that are named. */

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state }) {
  const vhost = h("select", {
    "aria-label": "Of",
    onchange: () => state.set({ vhost: vhost.value }),
  });
  vhost.append(h("option", { value: "" }, "all virtual hosts, with users"));
  const all = get("/api/vhosts").then((body) => {
    vhost.append(...rowsOf(body).map(({ name }) => h("option", { value: name }, `virtual host ${name}`)));
    vhost.value = state.get("vhost");
  });
  const problem = h("div", { class: "problem", role: "alert" });
  all.catch((error) => morph(problem, errorText(error)));
  const path = () => (vhost.value ? url`/api/definitions/${vhost.value}` : "/api/definitions");
  const file = h("input", { type: "file", accept: ".json,application/json", "aria-label": "File with definitions", onchange: () => rehearse() });
  const result = h("div", { role: "status", "aria-live": "polite" });

  const rehearse = async () => {
    const chosen = file.files?.[0];
    if (!chosen) {
      morph(result);
      return;
    }
    try {
      const given = JSON.parse(await chosen.text());
      const present = await get(path());
      morph(result, difference(chosen.name, compared(present, given), () => upload(given)));
    } catch (error) {
      const text = error instanceof SyntaxError ? `${chosen.name} is not JSON: ${error.message}` : errorText(error);
      morph(result, h("div", { class: "problem" }, text));
    }
  };

  /** @param {unknown} given */
  const upload = async (given) => {
    const isDone = await attempt(
      () => send("POST", path(), given),
      () => "The definitions are imported.",
    );
    if (isDone) {
      file.value = "";
      morph(result);
    }
  };

  container.append(
    pageHead("Definitions"),
    h("p", null, "Definitions are what was declared and configured: virtual hosts, users, permissions, policies, exchanges, queues and bindings. Messages are not among them. Files of RabbitMQ can be uploaded, and RabbitMQ takes the ones of here."),
    problem,
    h("p", { class: "table-bar" }, vhost),
    section(
      "Download",
      h(
        "button",
        {
          type: "button",
          class: "primary",
          onclick: () =>
            attempt(
              async () => {
                const found = await get(path());
                download(`${JSON.stringify(found, null, 2)}\n`, "definitions.json", "application/json");
                return Object.values(entriesOf(found)).reduce((sum, entries) => sum + entries.size, 0);
              },
              (count) => `Downloaded ${plural(count, "definition")}.`,
            ),
        },
        "Download definitions.json",
      ),
    ),
    section("Upload", [h("p", { class: "field" }, file), result]),
  );
}

/**
 * @param {string} name of the file
 * @param {import("../lib/definitions.js").Difference[]} differences
 * @param {() => unknown} upload
 */
function difference(name, differences, upload) {
  const changes = differences.filter(({ added, changed }) => added.length + changed.length > 0);
  return [
    h("p", null, h("strong", null, `What ${name} would do. `), "Nothing is deleted by an import. A queue or an exchange that is there with other arguments stays as it is, or refuses the file."),
    h(
      "table",
      { class: "plain-table" },
      h("thead", null, h("tr", null, ["", "New", "Changed", "Same", "Not in the file"].map((text) => h("th", { scope: "col" }, text)))),
      h(
        "tbody",
        null,
        differences.map(({ kind, added, changed, same, missing }) =>
          h("tr", null, h("th", { scope: "row" }, kind), [added.length, changed.length, same, missing].map((count) => h("td", { class: "number" }, number(count)))),
        ),
      ),
    ),
    changes.map(({ kind, added, changed }) =>
      h(
        "details",
        null,
        h("summary", null, `${kind}: ${number(added.length)} new, ${number(changed.length)} changed`),
        h(
          "ul",
          null,
          [...changed.map((each) => `${each} (changed)`), ...added].slice(0, NAMED_MAX).map((each) => h("li", null, each)),
          added.length + changed.length > NAMED_MAX ? h("li", null, `and ${number(added.length + changed.length - NAMED_MAX)} more`) : null,
        ),
      ),
    ),
    changes.length === 0
      ? h("p", null, "All of it is there already: there is nothing to import.")
      : h("button", { type: "button", class: "primary", onclick: upload }, "Import"),
  ];
}
