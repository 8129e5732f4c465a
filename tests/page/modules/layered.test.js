/** The layout of a topology. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bundled, connected, curve, layers, layout, matching, NODE, spaced } from "../../../server/leveret/management/web/lib/layered.js";

/**
 * @param {string} source
 * @param {string} destination
 * @param {string} [routing_key]
 */
const toQueue = (source, destination, routing_key = "") => ({ source, destination, destination_type: "queue", routing_key, arguments: {} });
/**
 * @param {string} source
 * @param {string} destination
 */
const toExchange = (source, destination) => ({ source, destination, destination_type: "exchange", routing_key: "", arguments: {} });

const shop = {
  exchanges: ["orders", "audit", "alone"],
  queues: ["mail", "stock", "log"],
  bindings: [
    toQueue("orders", "mail", "order.new"),
    toQueue("orders", "mail", "order.paid"),
    toQueue("orders", "stock", "order.new"),
    toExchange("orders", "audit"),
    toQueue("audit", "log"),
  ],
};

test("bindings between the same two ends are one edge", () => {
  const edges = bundled(shop.bindings);
  assert.equal(edges.length, 4);
  assert.equal(edges[0].bindings.length, 2);
});

test("an exchange and a queue of the same name are two objects", () => {
  const { nodes } = layout({ exchanges: ["same"], queues: ["same"], bindings: [toQueue("same", "same")] });
  assert.equal(new Set(nodes.map(({ id }) => id)).size, 2);
});

test("exchanges that are bound to exchanges are in layers, queues are right of all", () => {
  const { nodes } = layout(shop);
  const layer = Object.fromEntries(nodes.map(({ id, layer }) => [id, layer]));
  assert.deepEqual(layer, {
    "exchange:orders": 0, "exchange:audit": 1, "exchange:alone": 0, "queue:mail": 2, "queue:stock": 2, "queue:log": 2,
  });
});

test("a circle of exchanges has layers, too", () => {
  const edges = bundled([toExchange("a", "b"), toExchange("b", "c"), toExchange("c", "a")]);
  const found = layers(["exchange:a", "exchange:b", "exchange:c"], edges);
  assert.deepEqual([...found.values()].sort(), [0, 1, 2]);
  assert.equal(layers(["exchange:a"], bundled([toExchange("a", "a")])).get("exchange:a"), 0);
});

test("a long chain needs no stack", () => {
  const names = Array.from({ length: 20_000 }, (_, index) => `e${index}`);
  const edges = bundled(names.slice(1).map((name, index) => toExchange(names[index], name)));
  const found = layers(names.map((name) => `exchange:${name}`).reverse(), edges);
  assert.equal(found.get("exchange:e19999"), 19_999);
});

test("places keep their distance and stay near where they would like to be", () => {
  assert.deepEqual(spaced([0, 0, 100], 10), [-5, 5, 100]);
  assert.deepEqual(spaced([50, 0], 10), [20, 30]);
  assert.deepEqual(spaced([], 10), []);
});

test("what is connected goes both ways, but not to and fro", () => {
  const edges = bundled(shop.bindings);
  assert.deepEqual([...connected(["queue:log"], edges)].sort(), ["exchange:audit", "exchange:orders", "queue:log"]);
});

test("a filter keeps what is connected with what it finds, by routing key as well", () => {
  assert.deepEqual(matching(shop, "STOCK").queues, ["stock"]);
  assert.deepEqual(matching(shop, "STOCK").exchanges, ["orders"]);
  assert.deepEqual(matching(shop, "paid").queues.sort(), ["log", "mail", "stock"]);
  assert.equal(matching(shop, " "), shop);
});

test("a hundred objects do not overlap, and edges seldom cross", () => {
  const exchanges = Array.from({ length: 20 }, (_, index) => `x${index}`);
  const queues = Array.from({ length: 80 }, (_, index) => `q${(index * 37) % 80}`);
  const bindings = queues.map((name) => toQueue(`x${Math.floor(Number(name.slice(1)) / 4)}`, name));
  const { nodes, edges, height } = layout({ exchanges, queues, bindings });
  for (const one of nodes) {
    for (const other of nodes) {
      assert.ok(one === other || one.layer !== other.layer || Math.abs(one.y - other.y) >= NODE.height, `${one.id} ${other.id}`);
    }
  }
  const places = new Map(nodes.map((node) => [node.id, node.y]));
  const ends = edges.map(({ from, to }) => [places.get(from) ?? 0, places.get(to) ?? 0]);
  const crossings = ends.flatMap(([a, b], index) => ends.slice(index + 1).filter(([c, d]) => (a - c) * (b - d) < 0));
  assert.equal(crossings.length, 0);
  assert.ok(height < 80 * 34, String(height));
});

test("an edge goes from the right side of one object to the left side of the other", () => {
  const { nodes } = layout({ exchanges: ["x"], queues: ["q"], bindings: [toQueue("x", "q")] });
  const [from, to] = nodes;
  assert.ok(curve(from, to).startsWith(`M${from.x + NODE.width} `));
  assert.ok(curve(from, to).endsWith(`${to.x} ${(to.y + NODE.height / 2).toFixed(1)}`));
});
