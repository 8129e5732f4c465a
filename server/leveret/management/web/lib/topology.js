/**
 * A picture of exchanges, queues and the bindings between them. What has the pointer or the focus shows the
 * paths through it; arrow keys go along the bindings; the objects are links.
 */

import { connected, curve, layout, NODE } from "./layered.js";
import { set } from "./attributes.js";
import { s as svg } from "./dom.js";
import { plural } from "./format.js";

/** @typedef {import("./layered.js").Topology} Topology */
/** @typedef {import("./layered.js").Node} Node */
/** @typedef {import("./layered.js").Edge} Edge */

/**
 * @typedef {object} TopologyOptions
 * @property {(node: Node) => string} href the page of an object
 * @property {(node: Node) => string} note a few characters beside the name: type, or number of messages
 * @property {(text: string) => void} onRead a sentence about what has the pointer or the focus
 * @property {(address: string) => void} onOpen goes to the page of an object
 */

const NAME_CHARACTERS = 24;
const FIT_LEAST = 0.6;
const ZOOMS = [0.4, 0.55, 0.75, 1, 1.35, 1.8];
const KEYS_SHOWN = 12;

/** @param {string} name */
const shortName = (name) => (name.length > NAME_CHARACTERS ? `${name.slice(0, NAME_CHARACTERS - 1)}…` : name);

/** @param {string} id */
const nameOf = (id) => id.slice(id.indexOf(":") + 1) || "(default)";

/** @param {Edge} edge */
function edgeText({ from, to, bindings }) {
  const keys = bindings.slice(0, KEYS_SHOWN).map(({ routing_key, arguments: given }) => {
    const headers = Object.keys(given ?? {}).length ? ` ${JSON.stringify(given)}` : "";
    return `“${routing_key}”${headers}`;
  });
  const more = bindings.length > KEYS_SHOWN ? ` and ${bindings.length - KEYS_SHOWN} more` : "";
  return `${nameOf(from)} → ${nameOf(to)}: ${keys.join(", ")}${more}`;
}

class Picture {
  /**
   * @param {HTMLElement} container
   * @param {TopologyOptions} options
   */
  constructor(container, options) {
    this.options = options;
    this.zoom = 1;
    /** Whether the viewer has chosen the zoom; until then all of the width is shown. */
    this.isChosen = false;
    /** @type {import("./layered.js").Layout} */
    this.drawn = { nodes: [], edges: [], width: 0, height: 0 };
    /** @type {Map<string, SVGAElement>} */
    this.links = new Map();
    /** @type {Map<Edge, SVGGElement>} */
    this.curves = new Map();
    this.edges = svg("g", { class: "topology-edges" });
    this.nodes = svg("g", { class: "topology-nodes" });
    this.image = svg("svg", { class: "topology-image", role: "group", "aria-label": "Exchanges, queues and bindings" }, this.edges, this.nodes);
    this.root = document.createElement("div");
    this.root.className = "topology";
    this.root.append(this.image);
    container.append(this.root);
    this.listen();
  }

  listen() {
    this.root.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1 : -1);
    }, { passive: false });
    this.image.addEventListener("keydown", (event) => this.key(event));
    /** @type {{x: number, y: number, left: number, top: number} | null} */
    let grabbed = null;
    this.root.addEventListener("pointerdown", (event) => {
      const onObject = event.target instanceof Element && event.target.closest("a");
      if (event.pointerType !== "mouse" || event.button !== 0 || onObject) return;
      grabbed = { x: event.clientX, y: event.clientY, left: this.root.scrollLeft, top: this.root.scrollTop };
      this.root.setPointerCapture(event.pointerId);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!grabbed) return;
      this.root.scrollLeft = grabbed.left - (event.clientX - grabbed.x);
      this.root.scrollTop = grabbed.top - (event.clientY - grabbed.y);
    });
    for (const end of ["pointerup", "pointercancel"]) this.root.addEventListener(end, () => { grabbed = null; });
  }

  /** @param {Topology} topology */
  draw(topology) {
    const focused = [...this.links].find(([, link]) => link === document.activeElement)?.[0];
    this.drawn = layout(topology);
    const places = new Map(this.drawn.nodes.map((node) => [node.id, node]));
    this.curves = new Map(
      this.drawn.edges.map((edge) => [edge, this.edge(edge, /** @type {Node} */ (places.get(edge.from)), /** @type {Node} */ (places.get(edge.to)))]),
    );
    this.links = new Map(this.drawn.nodes.map((node, index) => [node.id, this.node(node, index === 0)]));
    this.edges.replaceChildren(...this.curves.values());
    this.nodes.replaceChildren(...this.links.values());
    if (this.isChosen) this.resize();
    else this.fit();
    this.highlight(null);
    if (focused) this.links.get(focused)?.focus();
  }

  /** Show other notes beside the names, without drawing anew. */
  refresh() {
    for (const node of this.drawn.nodes) {
      const note = this.links.get(node.id)?.querySelector(".topology-note");
      const text = this.options.note(node);
      if (note && note.textContent !== text) note.textContent = text;
    }
  }

  resize() {
    const { width, height } = this.drawn;
    set(this.image, { viewBox: `0 0 ${width} ${height}`, width: Math.round(width * this.zoom), height: Math.round(height * this.zoom) });
  }

  /** @param {number} steps */
  zoomBy(steps) {
    this.isChosen = true;
    const at = ZOOMS.findIndex((each) => each >= this.zoom - 0.01);
    this.zoomTo(ZOOMS[Math.min(Math.max(at + steps, 0), ZOOMS.length - 1)]);
  }

  /** Fit the picture into the width there is, as far as it stays readable. */
  fit() {
    this.isChosen = false;
    this.zoomTo(Math.min(1, Math.max(FIT_LEAST, this.root.clientWidth / (this.drawn.width || 1))));
  }

  /** @param {number} zoom */
  zoomTo(zoom) {
    const { scrollLeft, scrollTop } = this.root;
    const factor = zoom / this.zoom;
    this.zoom = zoom;
    this.resize();
    this.root.scrollTo(scrollLeft * factor, scrollTop * factor);
  }

  /**
   * @param {Edge} edge
   * @param {Node} from
   * @param {Node} to
   */
  edge(edge, from, to) {
    const d = curve(from, to);
    const width = 1 + Math.min(3, Math.log2(edge.bindings.length));
    const group = svg("g", { class: "topology-edge" }, svg("path", { class: "topology-hit", d }), svg("path", { class: "topology-curve", d, "stroke-width": width.toFixed(2) }));
    if (edge.bindings.length > 1) {
      group.append(svg("text", { class: "topology-count", x: to.x - 6, y: to.y + NODE.height / 2 - 3, "text-anchor": "end" }, `×${edge.bindings.length}`));
    }
    group.addEventListener("pointerenter", () => {
      this.highlight(new Set([edge.from, edge.to]));
      this.options.onRead(edgeText(edge));
    });
    group.addEventListener("pointerleave", () => this.highlight(null));
    return group;
  }

  /**
   * @param {Node} node
   * @param {boolean} first
   */
  node(node, first) {
    const name = node.name || "(default)";
    const link = svg(
      "a",
      { class: `topology-node topology-${node.kind}`, href: this.options.href(node), tabindex: first ? 0 : -1, transform: `translate(${node.x} ${node.y.toFixed(1)})` },
      svg("title", {}, `${node.kind} ${name}`),
      svg("rect", { width: NODE.width, height: NODE.height, rx: node.kind === "exchange" ? NODE.height / 2 : 4 }),
      svg("text", { class: "topology-name", x: 12, y: 16.5 }, shortName(name)),
      svg("text", { class: "topology-note", x: NODE.width - 12, y: 16.5, "text-anchor": "end" }, this.options.note(node)),
    );
    link.addEventListener("click", (event) => {
      // With a key of the keyboard the browser opens a tab, which is its business.
      if (event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey) {
        event.preventDefault();
        this.options.onOpen(this.options.href(node));
      }
    });
    const show = () => this.show(node);
    link.addEventListener("pointerenter", show);
    link.addEventListener("focus", show);
    link.addEventListener("pointerleave", () => this.highlight(null));
    link.addEventListener("blur", () => this.highlight(null));
    return link;
  }

  /** @param {Node} node */
  show(node) {
    const ids = connected([node.id], this.drawn.edges);
    this.highlight(ids);
    const incoming = this.drawn.edges.filter(({ to }) => to === node.id);
    const outgoing = this.drawn.edges.filter(({ from }) => from === node.id);
    /** @param {Edge[]} edges */
    const count = (edges) => edges.reduce((sum, { bindings }) => sum + bindings.length, 0);
    const into = `${plural(count(incoming), "binding")} in`;
    const out = node.kind === "exchange" ? `, ${count(outgoing)} out` : "";
    this.options.onRead(`${node.kind} ${node.name || "(default)"}: ${into}${out}`);
  }

  /** @param {Set<string> | null} ids */
  highlight(ids) {
    this.image.classList.toggle("topology-lit", ids !== null);
    for (const [id, link] of this.links) link.classList.toggle("lit", ids?.has(id) ?? false);
    for (const [edge, group] of this.curves) {
      group.classList.toggle("lit", (ids?.has(edge.from) && ids.has(edge.to)) ?? false);
    }
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const node = this.drawn.nodes.find(({ id }) => target instanceof Element && this.links.get(id)?.contains(target));
    if (event.key === "+" || event.key === "-") this.zoomBy(event.key === "+" ? 1 : -1);
    else if (event.key === "0") this.fit();
    else if (!node || !this.go(node, event.key)) return;
    event.preventDefault();
  }

  /**
   * @param {Node} node
   * @param {string} key
   */
  go(node, key) {
    const { nodes, edges } = this.drawn;
    /** @param {string | undefined} id */
    const byId = (id) => nodes.find((each) => each.id === id);
    const column = nodes.filter(({ layer }) => layer === node.layer).sort((one, other) => one.y - other.y);
    const at = column.indexOf(node);
    /** @type {Record<string, Node | undefined>} */
    const next = {
      ArrowUp: column[at - 1],
      ArrowDown: column[at + 1],
      ArrowRight: byId(edges.find(({ from }) => from === node.id)?.to),
      ArrowLeft: byId(edges.find(({ to }) => to === node.id)?.from),
      Home: column[0],
      End: column[column.length - 1],
    };
    if (!(key in next)) return false;
    const link = next[key] && this.links.get(next[key].id);
    if (link) {
      for (const each of this.links.values()) set(each, { tabindex: -1 });
      set(link, { tabindex: 0 });
      link.focus();
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    return true;
  }
}

/**
 * Draw a topology into a container.
 * @param {HTMLElement} container
 * @param {TopologyOptions} options
 */
export function topologyPicture(container, options) {
  const picture = new Picture(container, options);
  return {
    /** @param {Topology} topology */
    draw: (topology) => picture.draw(topology),
    refresh: () => picture.refresh(),
    /** @param {number} steps */
    zoomBy: (steps) => picture.zoomBy(steps),
    fit: () => picture.fit(),
    destroy: () => picture.root.remove(),
  };
}
