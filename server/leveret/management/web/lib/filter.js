/**
 * Filters as people type them: `ready>1000 consumers=0 name~mail`. Every term must hold.
 *
 * A listing of the broker filters itself; this is for rows that the page has already, and for what
 * is typed without a column, which is a part of the name.
 */

/**
 * @typedef {{column: string, operator: string, wanted: string}} Term
 */

const TERM = /^([\w.-]+)(!=|!~|>=|<=|=|~|>|<)(.*)$/;
const WORDS = /[^\s"]*"[^"]*"|\S+/g;

/** Short names of the columns that are asked for most. */
const ALIASES = /** @type {{[name: string]: string}} */ ({
  ready: "messages_ready",
  unacked: "messages_unacknowledged",
  total: "messages",
});

/**
 * @param {string} text
 * @returns {Term[]}
 */
export function parse(text) {
  return (text.match(WORDS) ?? []).map((word) => {
    const found = TERM.exec(word);
    if (!found) {
      return { column: "name", operator: "~", wanted: unquoted(word) };
    }
    const [, column = "", operator = "", wanted = ""] = found;
    return { column, operator, wanted: unquoted(wanted) };
  });
}

/**
 * The filter with a column in every term.
 *
 * @param {string} text
 * @returns {string}
 */
export function complete(text) {
  return (text.match(WORDS) ?? [])
    .map((word) => (TERM.test(word) ? word : `name~${word}`))
    .join(" ");
}

/** @param {string} text */
function unquoted(text) {
  return text.startsWith('"') && text.endsWith('"') && text.length > 1 ? text.slice(1, -1) : text;
}

/**
 * Whether a row fulfils all terms.
 *
 * @param {Term[]} terms
 * @param {{[column: string]: any}} row
 * @returns {boolean}
 */
export function holds(terms, row) {
  return terms.every(({ column, operator, wanted }) => {
    const value = lookUp(row, ALIASES[column] ?? column);
    const text = value === null || value === undefined ? "" : String(plainText(value));
    switch (operator) {
      case "=":
        return text === wanted;
      case "!=":
        return text !== wanted;
      case "~":
        return text.toLowerCase().includes(wanted.toLowerCase());
      case "!~":
        return !text.toLowerCase().includes(wanted.toLowerCase());
      case ">":
        return Number(text) > Number(wanted);
      case "<":
        return Number(text) < Number(wanted);
      case ">=":
        return Number(text) >= Number(wanted);
      default:
        return Number(text) <= Number(wanted);
    }
  });
}

/** @param {any} value */
function plainText(value) {
  return typeof value === "object" ? JSON.stringify(value) : value;
}

/**
 * The value of a column, which may be within an object: `message_stats.publish`.
 *
 * @param {any} row
 * @param {string} column
 * @returns {any}
 */
export function lookUp(row, column) {
  return column
    .split(".")
    .reduce((found, name) => (found === null || found === undefined ? found : found[name]), row);
}
