/**
 * The layout of a topology: exchanges on the left, queues on the right, and exchanges that are bound to
 * exchanges in layers between. Pure functions: objects with names in, places out.
 */

/** @typedef {{source: string, destination: string, destination_type: string, routing_key: string, arguments: Record<string, unknown>}} Binding */
/** @typedef {{exchanges: string[], queues: string[], bindings: Binding[]}} Topology */
/** @typedef {{id: string, kind: "exchange" | "queue", name: string, layer: number, x: number, y: number}} Node */
/** @typedef {{from: string, to: string, bindings: Binding[]}} Edge All bindings between two objects. */
/** @typedef {{nodes: Node[], edges: Edge[], width: number, height: number}} Layout */

export const NODE = { width: 230, height: 24 };
const ROW = 32;
const COLUMN = 380;
const MARGIN = 16;
const SWEEPS = 6;

/** @param {string} name */
export const exchangeId = (name) => `exchange:${name}`;
/** @param {string} name */
export const queueId = (name) => `queue:${name}`;

/**
 * Bindings by their two ends.
 * @param {readonly Binding[]} bindings
 * @returns {Edge[]}
 */
export function bundled(bindings) {
  /** @type {Map<string, Edge>} */
  const edges = new Map();
  for (const binding of bindings) {
    const from = exchangeId(binding.source);
    const to = (binding.destination_type === "queue" ? queueId : exchangeId)(binding.destination);
    const key = JSON.stringify([from, to]);
    const edge = edges.get(key) ?? { from, to, bindings: [] };
    edge.bindings.push(binding);
    edges.set(key, edge);
  }
  return [...edges.values()];
}

/**
 * The objects by the ids of those that they are connected with, in one direction.
 * @param {readonly Edge[]} edges
 * @param {boolean} onwards from exchanges to what they are bound to, or the other way
 */
function neighbours(edges, onwards) {
  /** @type {Map<string, string[]>} */
  const found = new Map();
  for (const { from, to } of edges) {
    const [key, value] = onwards ? [from, to] : [to, from];
    const list = found.get(key);
    if (list) list.push(value);
    else found.set(key, [value]);
  }
  return found;
}

/**
 * What is reached from some objects, and from where they are reached; they are among it.
 * @param {Iterable<string>} start
 * @param {readonly Edge[]} edges
 */
export function connected(start, edges) {
  const ids = [...start];
  const all = new Set(ids);
  for (const onwards of [true, false]) {
    const next = neighbours(edges, onwards);
    const seen = new Set(ids);
    const waiting = [...ids];
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      for (const other of next.get(id) ?? []) {
        if (!seen.has(other)) {
          seen.add(other);
          waiting.push(other);
        }
      }
    }
    for (const id of seen) all.add(id);
  }
  return all;
}

/**
 * The part of a topology that has a text in its names or routing keys, and what is connected with it.
 * @param {Topology} topology
 * @param {string} text
 * @returns {Topology}
 */
export function matching(topology, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return topology;
  /** @param {string} name */
  const matches = (name) => name.toLowerCase().includes(wanted);
  const edges = bundled(topology.bindings);
  const start = [
    ...topology.exchanges.filter(matches).map(exchangeId),
    ...topology.queues.filter(matches).map(queueId),
    ...edges.filter(({ bindings }) => bindings.some((each) => matches(each.routing_key))).flatMap(({ from, to }) => [from, to]),
  ];
  return part(topology, connected(start, edges));
}

/**
 * The part of a topology with some of its objects.
 * @param {Topology} topology
 * @param {Set<string>} ids
 * @returns {Topology}
 */
export function part(topology, ids) {
  return {
    exchanges: topology.exchanges.filter((name) => ids.has(exchangeId(name))),
    queues: topology.queues.filter((name) => ids.has(queueId(name))),
    bindings: topology.bindings.filter((each) => {
      const [{ from, to }] = bundled([each]);
      return ids.has(from) && ids.has(to);
    }),
  };
}

/**
 * The layer of each exchange: one more than the last of those that are bound to it. An edge that closes a
 * circle does not count.
 * @param {readonly string[]} ids of exchanges
 * @param {readonly Edge[]} edges
 */
export function layers(ids, edges) {
  const before = neighbours(edges, false);
  /** @type {Map<string, number | null>} Null while the ones before are being looked at. */
  const found = new Map();
  // No recursion: a chain of exchanges can be longer than a stack.
  for (const start of ids) {
    const stack = [start];
    while (stack.length) {
      const id = stack[stack.length - 1];
      if (typeof found.get(id) === "number") {
        stack.pop();
        continue;
      }
      const unknown = found.has(id) ? [] : (before.get(id) ?? []).filter((other) => !found.has(other));
      if (!found.has(id)) found.set(id, null);
      if (unknown.length) {
        stack.push(...unknown);
        continue;
      }
      const last = (before.get(id) ?? []).map((other) => found.get(other) ?? -1);
      found.set(id, 1 + Math.max(-1, ...last));
      stack.pop();
    }
  }
  return new Map([...found].map(([id, layer]) => [id, layer ?? 0]));
}

/** @param {readonly number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * Places in the given order with a least distance, as near as can be to where each would like to be (isotonic
 * regression: neighbours that are too near each other share the mean of what they would like).
 * @param {readonly number[]} wanted
 * @param {number} distance
 */
export function spaced(wanted, distance) {
  /** @type {{sum: number, count: number}[]} */
  const blocks = [];
  wanted.forEach((value, index) => {
    blocks.push({ sum: value - index * distance, count: 1 });
    for (let last = blocks.length - 1; last > 0; last -= 1) {
      const [one, other] = [blocks[last - 1], blocks[last]];
      if (one.sum / one.count <= other.sum / other.count) break;
      blocks.splice(last - 1, 2, { sum: one.sum + other.sum, count: one.count + other.count });
    }
  });
  const places = blocks.flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count));
  return places.map((place, index) => place + index * distance);
}

/**
 * Order the objects of each layer so that few edges cross: each goes to the mean of its neighbours in the
 * layers beside, to and fro.
 * @param {string[][]} columns
 * @param {readonly Edge[]} edges
 */
function untangle(columns, edges) {
  const sides = [neighbours(edges, true), neighbours(edges, false)];
  /** @type {Map<string, number>} */
  const rank = new Map();
  /** @param {string[]} column */
  const number = (column) => {
    const scale = 1 / Math.max(1, column.length - 1);
    for (const [index, id] of column.entries()) rank.set(id, index * scale);
  };
  columns.forEach(number);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const side = sides[(sweep + 1) % 2];
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const wanted = new Map(
        column.map((id) => {
          const others = (side.get(id) ?? []).map((other) => rank.get(other) ?? 0);
          return [id, others.length ? mean(others) : (rank.get(id) ?? 0)];
        }),
      );
      column.sort((one, other) => (wanted.get(one) ?? 0) - (wanted.get(other) ?? 0));
      number(column);
    }
  }
}

/**
 * Where everything goes.
 * @param {Topology} topology
 * @returns {Layout}
 */
export function layout(topology) {
  const edges = bundled(topology.bindings);
  const exchanges = topology.exchanges.map(exchangeId);
  const queues = topology.queues.map(queueId);
  const known = new Set([...exchanges, ...queues]);
  const drawn = edges.filter(({ from, to }) => known.has(from) && known.has(to));
  const layerOf = layers(exchanges, drawn.filter(({ to }) => to.startsWith("exchange:")));
  const last = Math.max(0, ...layerOf.values()) + 1;
  /** @type {string[][]} */
  const columns = Array.from({ length: last }, () => []);
  for (const id of exchanges) columns[layerOf.get(id) ?? 0].push(id);
  columns.push(queues);
  untangle(columns, drawn);

  const onwards = neighbours(drawn, true);
  /** @type {Map<string, number>} */
  const y = new Map();
  for (const column of [...columns].reverse()) {
    const wanted = column.map((id, index) => {
      const others = (onwards.get(id) ?? []).flatMap((other) => y.get(other) ?? []);
      return others.length ? mean(others) : index * ROW;
    });
    spaced(wanted, ROW).forEach((place, index) => y.set(column[index], place));
  }
  const least = Math.min(0, ...y.values());
  const nodes = columns.flatMap((column, layer) =>
    column.map((id) => {
      const kind = /** @type {Node["kind"]} */ (id.slice(0, id.indexOf(":")));
      const name = id.slice(kind.length + 1);
      return { id, kind, name, layer, x: MARGIN + layer * COLUMN, y: MARGIN + (y.get(id) ?? 0) - least };
    }),
  );
  return {
    nodes,
    edges: drawn,
    width: 2 * MARGIN + last * COLUMN + NODE.width,
    height: 2 * MARGIN + NODE.height + Math.max(0, ...nodes.map((node) => node.y - MARGIN)),
  };
}

/**
 * The curve of an edge between two objects, as a path of SVG. One that goes back, in a circle, leaves and
 * arrives on the other sides.
 * @param {Node} from
 * @param {Node} to
 */
export function curve(from, to) {
  const half = NODE.height / 2;
  const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + half, to.x, to.y + half];
  const reach = x2 > x1 ? Math.min((x2 - x1) / 2, COLUMN - NODE.width) : 90;
  return `M${x1} ${y1.toFixed(1)}C${x1 + reach} ${y1.toFixed(1)} ${x2 - reach} ${y2.toFixed(1)} ${x2} ${y2.toFixed(1)}`;
}
