/** What a file of definitions would change. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { canonical, compared } from "../../../server/leveret/management/web/lib/definitions.js";

const queue = (/** @type {object} */ more) => ({ vhost: "/", name: "mail", durable: true, auto_delete: false, arguments: {}, ...more });

test("the order of members does not matter", () => {
  assert.equal(canonical({ b: 1, a: [{ d: null, c: "x" }] }), canonical({ a: [{ c: "x", d: null }], b: 1 }));
});

test("entries are new, changed, the same, or not in the file", () => {
  const present = { queues: [queue({}), queue({ name: "stock" }), queue({ name: "log" })], vhosts: [{ name: "/" }] };
  const given = { queues: [queue({}), queue({ name: "stock", arguments: { "x-max-length": 1 } }), queue({ name: "new" })] };
  assert.deepEqual(compared(present, given), [
    { kind: "vhosts", added: [], changed: [], same: 0, missing: 1 },
    { kind: "queues", added: ["new in /"], changed: ["stock in /"], same: 1, missing: 1 },
  ]);
});

test("what a file leaves out does not change", () => {
  const [vhosts] = compared({ vhosts: [{ name: "/", description: "x" }] }, { vhosts: [{ name: "/" }] });
  assert.deepEqual(vhosts, { kind: "vhosts", added: [], changed: [], same: 1, missing: 0 });
});

test("bindings differ by their arguments", () => {
  const binding = { vhost: "/", source: "x", destination: "q", destination_type: "queue", routing_key: "", arguments: { a: 1 } };
  const [bindings] = compared({ bindings: [binding] }, { bindings: [{ ...binding, arguments: { a: 2 } }] });
  assert.deepEqual(bindings?.added, ["x → q (no routing key) in /"]);
});
