/** Arguments and headers as people type them, and as they are shown. */

import { ApiError } from "./api.js";
import { h } from "./dom.js";

/**
 * Arguments from text: an object of JSON, or `name=value` a line. A value that reads as JSON (a number, true,
 * a list) is that, any other is a text.
 *
 * @param {string} text
 * @returns {{[name: string]: unknown}}
 * @throws {ApiError} if a line has no "="
 */
export function parseArguments(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) {
    try {
      return JSON.parse(trimmed);
    } catch (error) {
      throw new ApiError(400, `not JSON: ${error instanceof Error ? error.message : error}`, "arguments");
    }
  }
  /** @type {{[name: string]: unknown}} */
  const found = {};
  trimmed.split("\n").forEach((line, index) => {
    if (!line.trim()) {
      return;
    }
    const at = line.indexOf("=");
    if (at < 1) {
      throw new ApiError(400, `line ${index + 1} is not name=value`, "arguments");
    }
    found[line.slice(0, at).trim()] = valueOf(line.slice(at + 1).trim());
  });
  return found;
}

/** @param {string} text */
function valueOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/**
 * @param {{[name: string]: unknown} | null | undefined} given
 * @returns {string} one argument a line, such that parseArguments gives the same
 */
export function argumentsText(given) {
  return Object.entries(given ?? {})
    .map(([name, value]) => `${name}=${isPlain(value) ? value : JSON.stringify(value)}`)
    .join("\n");
}

/**
 * Whether a value is a text that is not taken for anything else.
 *
 * @param {unknown} value
 */
function isPlain(value) {
  return typeof value === "string" && valueOf(value) === value && value === value.trim();
}

export const ARGUMENTS_HINT = "One a line, name=value; or an object of JSON.";

/**
 * Arguments as a list.
 *
 * @param {{[name: string]: unknown} | null | undefined} given
 * @param {string} none what is said if there are none
 */
export function argumentsList(given, none) {
  if (Object.keys(given ?? {}).length === 0) {
    return h("span", { class: "none" }, none);
  }
  const lines = argumentsText(given).split("\n");
  return h(
    "ul",
    { class: "name-values" },
    lines.map((line) => h("li", null, h("code", null, line))),
  );
}
