/** History as the HTTP API has it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { historyQuery, levels, RANGES, rangeFrom, rangeOf, rates } from "../../../server/leveret/management/web/lib/history.js";

const details = {
  samples: [
    { timestamp: 3000, sample: 30 },
    { timestamp: 1000, sample: 10 },
    { timestamp: 2000, sample: 10 },
    { timestamp: 4000, sample: 5 },
  ],
};

test("levels are in the order of time", () => {
  assert.deepEqual(levels(details), [[1000, 10], [2000, 10], [3000, 30], [4000, 5]]);
  assert.deepEqual(levels(undefined), []);
});

test("rates are differences a second, and missing where a counter began anew", () => {
  assert.deepEqual(rates(details), [[2000, 0], [3000, 20], [4000, null]]);
  assert.deepEqual(rates({}), []);
});

test("the query names age and step of each kind", () => {
  assert.equal(historyQuery("1h", ["lengths", "msg_rates"]), "lengths_age=3600&lengths_incr=30&msg_rates_age=3600&msg_rates_incr=30");
});

test("an unknown range is the default one", () => {
  assert.equal(rangeOf("nonsense").name, "10m");
  assert.equal(rangeOf(null).name, "10m");
});

test("a zoom takes the smallest range that reaches back to it", () => {
  assert.equal(rangeFrom(0, 59_000).name, "1m");
  assert.equal(rangeFrom(0, 3_000_000).name, "1h");
  assert.equal(rangeFrom(0, 1e12).name, RANGES[RANGES.length - 1].name);
});
