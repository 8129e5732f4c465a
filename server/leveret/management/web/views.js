/**
 * The table of views: the pattern of an address, the module that shows it, and its place in the
 * navigation. To add a view, add a line here and a module in views/.
 *
 * A module exports `title(params)` and `render(container, params, context)`; what `render` returns
 * is called when the view is left.
 */

/**
 * What a view is given beside the values in its address.
 *
 * @typedef {object} Context
 * @property {import("./lib/state.js").State} state what is in the query string
 * @property {import("./lib/api.js").Session} session who is logged in
 * @property {(address: string) => void} navigate
 *
 * @typedef {{[name: string]: string}} Params
 *
 * @typedef {object} Module
 * @property {(params: Params) => string} title
 * @property {(container: HTMLElement, params: Params, context: Context) => (() => void) | void} render
 *
 * @typedef {object} View
 * @property {string} path with `:name` for a segment that is a value
 * @property {() => Promise<Module>} load
 * @property {string} [title] in the navigation; a view without one is reached from others
 * @property {"Messages" | "Clients" | "Administration"} [group] in the navigation
 * @property {string} [key] the key that opens it, after g
 * @property {string[]} [tags] of users that can use it, beside administrators; missing: all
 * @property {boolean} [clustered] whether it is of use in a cluster only
 */

/** @type {View[]} */
export const VIEWS = [
  { path: "/", load: () => import("./views/overview.js"), title: "Overview", key: "o" },
  {
    path: "/queues",
    load: () => import("./views/queues.js"),
    title: "Queues",
    group: "Messages",
    key: "q",
  },
  { path: "/queues/:vhost/:name", load: () => import("./views/queue.js") },
  { path: "/queues/:vhost/:name/messages", load: () => import("./views/messages.js") },
  {
    path: "/exchanges",
    load: () => import("./views/exchanges.js"),
    title: "Exchanges",
    group: "Messages",
    key: "e",
  },
  { path: "/exchanges/:vhost/:name", load: () => import("./views/exchange.js") },
  {
    path: "/topology",
    load: () => import("./views/topology.js"),
    title: "Topology",
    group: "Messages",
    key: "t",
  },
  {
    path: "/delayed",
    load: () => import("./views/delayed.js"),
    title: "Delayed",
    group: "Messages",
  },
  {
    path: "/connections",
    load: () => import("./views/connections.js"),
    title: "Connections",
    group: "Clients",
    key: "c",
  },
  { path: "/connections/:name", load: () => import("./views/connection.js") },
  {
    path: "/channels",
    load: () => import("./views/channels.js"),
    title: "Channels",
    group: "Clients",
  },
  { path: "/channels/:name", load: () => import("./views/channel.js") },
  {
    path: "/consumers",
    load: () => import("./views/consumers.js"),
    title: "Consumers",
    group: "Clients",
  },
  {
    path: "/users",
    load: () => import("./views/users.js"),
    title: "Users",
    group: "Administration",
    key: "u",
    tags: [],
  },
  { path: "/users/:name", load: () => import("./views/user.js") },
  {
    path: "/vhosts",
    load: () => import("./views/vhosts.js"),
    title: "Virtual hosts",
    group: "Administration",
    key: "v",
  },
  { path: "/vhosts/:name", load: () => import("./views/vhost.js") },
  {
    path: "/policies",
    load: () => import("./views/policies.js"),
    title: "Policies",
    group: "Administration",
    key: "p",
    tags: ["policymaker"],
  },
  {
    path: "/limits",
    load: () => import("./views/limits.js"),
    title: "Limits",
    group: "Administration",
    tags: [],
  },
  {
    path: "/definitions",
    load: () => import("./views/definitions.js"),
    title: "Definitions",
    group: "Administration",
    key: "d",
    tags: [],
  },
  {
    path: "/cluster",
    load: () => import("./views/cluster.js"),
    title: "Cluster",
    group: "Administration",
    key: "n",
    tags: ["monitoring"],
    clustered: true,
  },
  {
    path: "/log",
    load: () => import("./views/log.js"),
    title: "Log",
    group: "Administration",
    key: "l",
    tags: ["monitoring"],
  },
  {
    path: "/health",
    load: () => import("./views/health.js"),
    title: "Health",
    group: "Administration",
    key: "h",
    tags: ["monitoring"],
  },
  {
    path: "/http-api",
    load: () => import("./views/http_api.js"),
    title: "HTTP API",
    group: "Administration",
  },
];

/**
 * The view of an address.
 *
 * @param {string} path as in the address, with its escapes
 * @returns {{view: View, params: Params} | null}
 */
export function find(path) {
  const segments = path.replace(/\/+$/, "").split("/");
  for (const view of VIEWS) {
    const pattern = view.path.replace(/\/+$/, "").split("/");
    const params = pattern.length === segments.length ? matched(pattern, segments) : null;
    if (params) {
      return { view, params };
    }
  }
  return null;
}

/**
 * @param {string[]} pattern
 * @param {string[]} segments
 * @returns {Params | null}
 */
function matched(pattern, segments) {
  /** @type {Params} */
  const params = {};
  for (const [index, part] of pattern.entries()) {
    const segment = segments[index] ?? "";
    if (part.startsWith(":")) {
      params[part.slice(1)] = unescaped(segment);
    } else if (part !== segment) {
      return null;
    }
  }
  return params;
}

/** @param {string} segment */
function unescaped(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
