/** Scales and ticks of charts. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  byteTicks,
  largest,
  linear,
  linePath,
  nearest,
  niceStep,
  timeTicks,
  valueText,
  valueTicks,
} from "../../../server/leveret/management/web/lib/scales.js";

test("a step is 1, 2 or 5 times a power of ten", () => {
  assert.equal(niceStep(10, 5), 2);
  assert.equal(niceStep(9, 4), 5);
  assert.equal(niceStep(0.7, 4), 0.2);
  assert.equal(niceStep(1e6, 5), 2e5);
});

test("ticks of values begin at zero and reach the maximum", () => {
  assert.deepEqual(valueTicks(9), [0, 5, 10]);
  assert.deepEqual(valueTicks(10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(valueTicks(0.3, 3), [0, 0.1, 0.2, 0.3]);
});

test("a count has no fractions, and nothing at all has an axis too", () => {
  assert.deepEqual(valueTicks(0, 4, true), [0, 1]);
  assert.deepEqual(valueTicks(2, 4, true), [0, 1, 2]);
});

test("ticks of bytes are round in KiB and MiB", () => {
  assert.deepEqual(byteTicks(3000), [0, 1024, 2048, 3072]);
  assert.deepEqual(byteTicks(90 * 1024 ** 2), [0, 50 * 1024 ** 2, 100 * 1024 ** 2]);
  assert.deepEqual(byteTicks(0), [0, 1]);
});

test("ticks of time are at whole minutes of the viewer's clock", () => {
  const start = Date.UTC(2024, 4, 1, 10, 0, 7);
  const { step, ticks } = timeTicks(start, start + 600_000, 5, 0);
  assert.equal(step, 120_000);
  assert.deepEqual(ticks.map((at) => new Date(at).toISOString().slice(11, 19)), [
    "10:02:00", "10:04:00", "10:06:00", "10:08:00", "10:10:00",
  ]);
});

test("ticks of hours follow a time zone of half an hour", () => {
  const start = Date.UTC(2024, 4, 1, 10, 0);
  const { step, ticks } = timeTicks(start, start + 24 * 3_600_000, 6, -330);
  assert.equal(step, 6 * 3_600_000);
  assert.equal(new Date(ticks[0]).toISOString(), "2024-05-01T12:30:00.000Z");
});

test("values are short, and bytes have 1024 as the base", () => {
  assert.equal(valueText(0, "/s"), "0/s");
  assert.equal(valueText(1234, "/s"), "1.23 k/s");
  assert.equal(valueText(999.9, "messages"), "1 k");
  assert.equal(valueText(12.34, "ms"), "12.3 ms");
  assert.equal(valueText(1536, "B"), "1.5 KiB");
  assert.equal(valueText(3 * 1024 ** 3, "B/s"), "3 GiB/s");
  assert.equal(valueText(null, "/s"), "–");
  assert.equal(valueText(123456), "123 k");
});

test("a line is interrupted where a value is missing", () => {
  const same = linear(0, 1, 0, 1);
  assert.equal(linePath([[0, 1], [1, 2], [2, null], [3, 4], [4, 5]], same, same), "M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0");
});

test("a sample without neighbours is a dot", () => {
  const same = linear(0, 1, 0, 1);
  assert.equal(linePath([[0, null], [1, 2], [2, null]], same, same), "M1.0 2.0L1.0 2.0");
});

test("the largest value is one of those that are shown", () => {
  assert.equal(largest([[[0, 100], [5, 3], [6, null]], [[7, 4]]], 1, 10), 4);
  assert.equal(largest([], 0, 1), 0);
});

test("the nearest sample is found on both sides", () => {
  /** @type {[number, number][]} */
  const samples = [[0, 0], [10, 0], [20, 0]];
  assert.equal(nearest(samples, -5), 0);
  assert.equal(nearest(samples, 4), 0);
  assert.equal(nearest(samples, 6), 1);
  assert.equal(nearest(samples, 99), 2);
  assert.equal(nearest([], 1), -1);
});

test("a scale of one value does not divide by zero", () => {
  assert.equal(linear(3, 3, 10, 20)(3), 10);
});
