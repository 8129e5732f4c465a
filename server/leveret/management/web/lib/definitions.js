/**
 * Files of definitions, compared with what a broker has. Pure functions.
 *
 * (RabbitMQ: Schema Definition Export and Import.)
 */

/** @typedef {{[name: string]: any}} Entry */
/** @typedef {{kind: string, added: string[], changed: string[], same: number, missing: number}} Difference */

/** What identifies an entry of each kind; everything else of it can change. */
const KEYS = /** @type {{[kind: string]: string[]}} */ ({
  vhosts: ["name"],
  users: ["name"],
  permissions: ["user", "vhost"],
  topic_permissions: ["user", "vhost", "exchange"],
  parameters: ["component", "vhost", "name"],
  global_parameters: ["name"],
  policies: ["vhost", "name"],
  exchanges: ["vhost", "name"],
  queues: ["vhost", "name"],
  bindings: ["vhost", "source", "destination_type", "destination", "routing_key", "arguments"],
});

/**
 * A value as text that does not depend on the order of its members.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function canonical(value) {
  if (Array.isArray(value)) {
    return `[${value.map(canonical).join(",")}]`;
  }
  if (value !== null && typeof value === "object") {
    const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
    return `{${members.map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`).join(",")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/**
 * The entries of a file by kind and by what identifies them.
 *
 * @param {Entry} file
 * @returns {{[kind: string]: Map<string, Entry>}}
 */
export function entriesOf(file) {
  return Object.fromEntries(
    Object.entries(KEYS).map(([kind, keys]) => [
      kind,
      new Map((file[kind] ?? []).map((/** @type {Entry} */ entry) => [keys.map((key) => canonical(entry[key] ?? "")).join(" "), entry])),
    ]),
  );
}

/**
 * Whether an entry of a file says the same as what is there. A member that the file leaves out says nothing.
 *
 * @param {Entry} present
 * @param {Entry} given
 */
function saysSame(present, given) {
  return Object.entries(given).every(([name, value]) => canonical(value) === canonical(present[name]));
}

/**
 * What a file would change.
 *
 * @param {Entry} present the definitions of the broker
 * @param {Entry} given the file
 * @returns {Difference[]} of each kind that one of them has
 */
export function compared(present, given) {
  const [before, after] = [entriesOf(present), entriesOf(given)];
  return Object.keys(KEYS)
    .map((kind) => {
      const [there, wanted] = [before[kind] ?? new Map(), after[kind] ?? new Map()];
      const known = [...wanted].filter(([key]) => there.has(key));
      const changed = known.filter(([key, entry]) => !saysSame(there.get(key) ?? {}, entry));
      return {
        kind: kind.replaceAll("_", " "),
        added: [...wanted].filter(([key]) => !there.has(key)).map(([, entry]) => nameOf(kind, entry)),
        changed: changed.map(([, entry]) => nameOf(kind, entry)),
        same: known.length - changed.length,
        missing: there.size - known.length,
      };
    })
    .filter(({ added, changed, same, missing }) => added.length + changed.length + same + missing > 0);
}

/**
 * @param {string} kind
 * @param {Entry} entry
 */
function nameOf(kind, entry) {
  const where = entry.vhost === undefined ? "" : ` in ${entry.vhost}`;
  if (kind === "bindings") {
    return `${entry.source} → ${entry.destination} (${entry.routing_key || "no routing key"})${where}`;
  }
  return `${entry.name ?? entry.user}${where}`;
}
