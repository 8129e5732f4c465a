/** Listings of the API: their rows, how many there are, and choices made of them. */

import { get, withQuery } from "./api.js";

/**
 * The rows of a listing, with or without pages.
 *
 * @param {any} body
 * @returns {any[]}
 */
export const rowsOf = (body) => (Array.isArray(body) ? body : body.items);

/**
 * How many objects a listing has, without reading them.
 *
 * @param {string} path
 * @param {{[name: string]: string}} [query]
 * @returns {Promise<number>}
 */
export async function countOf(path, query = {}) {
  const body = await get(withQuery(path, { page: 1, page_size: 1, columns: "name", ...query }));
  return Array.isArray(body) ? body.length : body.filtered_count;
}

/**
 * A field of a form for one of the virtual hosts.
 *
 * @param {string} [value]
 * @returns {Promise<import("./dialog.js").Field>}
 */
export async function vhostField(value) {
  const found = rowsOf(await get("/api/vhosts"));
  const options = found.map(({ name }) => ({ value: name, label: name }));
  return { name: "vhost", label: "Virtual host", type: "select", options, value: value ?? "/" };
}
