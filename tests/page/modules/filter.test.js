/** Filters of rows that the page has itself. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { complete, holds, lookUp, parse } from "../../../server/leveret/management/web/lib/filter.js";

const ROW = {
  name: "mail.out",
  messages_ready: 1500,
  consumers: 0,
  policy: null,
  durable: true,
  message_stats: { publish: 7 },
};

/** @param {string} text */
const fits = (text) => holds(parse(text), ROW);

test("every term has to hold", () => {
  assert.ok(fits("ready>1000 consumers=0 name~mail"));
  assert.ok(!fits("ready>1000 consumers=1 name~mail"));
  assert.ok(fits(""));
});

test("a text without an operator is a part of the name, in any case of letters", () => {
  assert.ok(fits("MAIL"));
  assert.ok(!fits("orders"));
});

test("each operator compares as it says", () => {
  assert.ok(fits("ready>=1500 ready<=1500"));
  assert.ok(!fits("ready<1500"));
  assert.ok(fits("name!=mail"));
  assert.ok(fits("name!~orders"));
  assert.ok(fits("durable=true"));
});

test("what is not there is equal to nothing", () => {
  assert.ok(fits("policy="));
  assert.ok(!fits("policy=ttl"));
});

test("a name with dots is a field of an object", () => {
  assert.ok(fits("message_stats.publish>6"));
  assert.equal(lookUp(ROW, "message_stats.no.such"), undefined);
});

test("a value in quotes may have spaces", () => {
  assert.deepEqual(parse('name~"a b" x=1'), [
    { column: "name", operator: "~", wanted: "a b" },
    { column: "x", operator: "=", wanted: "1" },
  ]);
});

test("the broker gets a column with every term", () => {
  assert.equal(complete("mail ready>5"), "name~mail ready>5");
});
