/** The HTTP API as it describes itself, to be read beside the objects it is about. */

import { get } from "../lib/api.js";
import { errorText } from "../lib/dialog.js";
import { h, morph } from "../lib/dom.js";
import { number, plural } from "../lib/format.js";
import { pageHead, section } from "../lib/page.js";

/** @typedef {import("../views.js").Context} Context */
/** @typedef {{[name: string]: any}} Json */
/** @typedef {{method: string, path: string, operation: Json}} Operation */

export const title = () => "HTTP API";

const METHODS = ["get", "put", "post", "patch", "delete"];
const DESCRIPTION = "/api/openapi.json";

/**
 * @param {HTMLElement} container
 * @param {unknown} params
 * @param {Context} context
 */
export function render(container, params, { state }) {
  const list = h("div", null);
  const count = h("span", { class: "hint", role: "status" });
  /** @type {Json} */
  let description = { paths: {}, components: { schemas: {} } };
  const show = () => {
    const wanted = state.get("filter").toLowerCase();
    const found = operationsOf(description).filter((each) =>
      `${each.method} ${each.path} ${each.operation.summary}`.toLowerCase().includes(wanted),
    );
    count.textContent = plural(found.length, "operation");
    const tags = [...new Set(found.map((each) => each.operation.tags[0]))].sort();
    const groups = tags.map((tag) =>
      section(
        tag,
        found.filter((each) => each.operation.tags[0] === tag).map((each) => operation(each, description)),
        { key: tag },
      ),
    );
    morph(list, groups);
  };
  const filter = h("input", {
    type: "search",
    class: "filter",
    value: state.get("filter"),
    placeholder: "Path, method or words",
    "aria-label": "Filter the operations",
    oninput: () => {
      state.set({ filter: filter.value });
      show();
    },
  });
  container.append(
    pageHead("HTTP API", { beside: count }),
    h(
      "p",
      null,
      "What tools and scripts can ask. The same for programs, as OpenAPI 3.1: ",
      h("a", { href: DESCRIPTION }, h("code", null, DESCRIPTION)),
    ),
    h("div", { class: "table-bar" }, filter),
    list,
  );
  get(DESCRIPTION).then(
    (found) => {
      description = found;
      show();
    },
    (error) => morph(list, h("p", { class: "problem", role: "alert" }, errorText(error))),
  );
}

/**
 * @param {Json} description
 * @returns {Operation[]}
 */
function operationsOf(description) {
  return Object.entries(description.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => method in methods).map((method) => ({
      method: method.toUpperCase(),
      path,
      operation: methods[method],
    })),
  );
}

/**
 * @param {Operation} each
 * @param {Json} description
 */
function operation({ method, path, operation: found }, description) {
  const query = found.parameters.filter((/** @type {Json} */ parameter) => parameter.in === "query");
  return h(
    "details",
    { class: "operation", key: `${method} ${path}` },
    h("summary", null, h("code", null, `${method} ${path}`), " ", withCode(found.summary)),
    h("p", { class: "hint" }, withCode(found.description)),
    query.length > 0 ? fields("Parameters", query.map((/** @type {Json} */ one) => [one.name, one.schema.type, one.description])) : null,
    schemaFields("Takes", found.requestBody?.content, description),
    schemaFields("Gives", found.responses["200"]?.content, description),
  );
}

/**
 * @param {string} name
 * @param {Json | undefined} content
 * @param {Json} description
 */
function schemaFields(name, content, description) {
  const schema = content?.["application/json"]?.schema;
  if (!schema) {
    return null;
  }
  const reference = (schema.items ?? schema).$ref;
  const component = description.components.schemas[reference?.split("/").at(-1) ?? ""];
  if (!component?.properties) {
    return null;
  }
  const rows = Object.entries(component.properties).map(([field, one]) => [field, typeOf(one), one.description ?? ""]);
  return fields(`${name} ${schema.items ? "a list of " : ""}${component.title} (${number(rows.length)} fields)`, rows);
}

/**
 * @param {string} name
 * @param {string[][]} rows
 */
function fields(name, rows) {
  return h(
    "div",
    { class: "table-scroll" },
    h(
      "table",
      null,
      h("caption", null, name),
      h("thead", null, h("tr", null, ["field", "type", "what"].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell) => h("td", null, withCode(cell)))))),
    ),
  );
}

/**
 * A text whose parts between backquotes are code.
 *
 * @param {string} text
 */
function withCode(text) {
  return text.split("`").map((part, index) => (index % 2 === 1 ? h("code", null, part) : part));
}

/**
 * The type of a field in words.
 *
 * @param {any} schema
 * @returns {string}
 */
function typeOf(schema) {
  if (schema.anyOf) {
    return schema.anyOf.map(typeOf).join(" or ");
  }
  if (schema.enum) {
    return schema.enum.join(" or ");
  }
  return schema.$ref ? "object" : (schema.type ?? "any");
}
