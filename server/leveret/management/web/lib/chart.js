/**
 * A line chart over time: axes, read-out (mouse, touch, keyboard), zoom, ranges, legend, and a table of the
 * same values. It draws what it is given, and keeps its elements when it is updated, so that nothing flickers
 * and what has the focus keeps it. A series differs from the others by its dashes as well as by its colour.
 */

import { set } from "./attributes.js";
import { s as svg } from "./dom.js";
import { RANGES } from "./history.js";
import { byteTicks, largest, linear, linePath, nearest, timeText, timeTicks, valueText, valueTicks } from "./scales.js";

/** @typedef {import("./scales.js").Sample} Sample */
/** @typedef {{name: string, color: string, values: Sample[]}} Series In the order of time. */
/** @typedef {[number, number]} Zoom From and to, in ms. */

/**
 * @typedef {object} ChartOptions
 * @property {Series[]} series
 * @property {string} unit such as "/s", "messages", "B", "ms"
 * @property {string} range the name of one of RANGES
 * @property {string} label what the chart shows
 * @property {Zoom | null} [zoom] the times that are shown, if not the end of what there is
 * @property {string[]} [hidden] names of series that the legend has switched off
 * @property {(range: string) => void} [onRange] the viewer has chosen a range
 * @property {(zoom: Zoom | null) => void} [onZoom] the viewer has zoomed, or gone back
 * @property {(hidden: string[]) => void} [onHidden] the viewer has switched series on or off
 */

/** @typedef {{update: (series: Series[], change?: {range?: string, zoom?: Zoom | null}) => void, destroy: () => void}} Chart */

const HEIGHT = 180;
const MARGIN = { top: 10, right: 12, bottom: 24, left: 62 };
const DASHES = [null, "6 3", "2 3", "9 3 2 3", "12 4", "1 4"];
const DRAG_LEAST_PX = 6;
const TABLE_ROWS_MAX = 200;

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} name
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[T]}
 */
function html(tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

/**
 * @param {string} name
 * @param {string} text
 * @param {() => void} action
 */
function button(name, text, action) {
  const element = html("button", name, text);
  element.type = "button";
  element.addEventListener("click", action);
  return element;
}

/** @param {number} at */
const momentText = (at) => timeText(at, 1000);

class LineChart {
  /**
   * @param {HTMLElement} container
   * @param {ChartOptions} options
   */
  constructor(container, options) {
    this.options = options;
    this.series = options.series;
    this.range = options.range;
    this.zoom = options.zoom ?? null;
    this.hidden = new Set(options.hidden ?? []);
    this.width = 0;
    /** @type {number | null} The time that is read out. */
    this.cursor = null;
    /** @type {number | null} The x where a drag began. */
    this.dragged = null;
    /** @type {{button: HTMLButtonElement, value: HTMLElement, path: SVGPathElement, dot: SVGCircleElement}[]} */
    this.lines = [];

    this.head = html("div", "chart-head");
    this.title = html("h3", "chart-title", options.label);
    this.ranges = RANGES.map(({ name, label }) =>
      button("chart-range", label, () => this.chooseRange(name)),
    );
    this.back = button("chart-back", "Reset zoom", () => this.chooseZoom(null));
    this.tableButton = button("chart-table-button", "Table", () => this.toggleTable());
    const tools = html("div", "chart-tools");
    tools.setAttribute("role", "group");
    tools.setAttribute("aria-label", `Range of: ${options.label}`);
    tools.append(...(options.onRange ? this.ranges : []), this.back, this.tableButton);
    this.head.append(this.title, tools);

    this.grid = svg("g", { class: "chart-grid" });
    // An svg of its own cuts what is outside it.
    this.paths = svg("svg", { class: "chart-lines", x: MARGIN.left, height: HEIGHT });
    this.dots = svg("g", { class: "chart-dots" });
    this.line = svg("line", { class: "chart-cursor", visibility: "hidden" });
    this.selection = svg("rect", { class: "chart-selection", visibility: "hidden" });
    this.plot = svg(
      "svg",
      { class: "chart-plot", height: HEIGHT, tabindex: 0, role: "slider", "aria-label": `${options.label}, by time` },
      this.grid,
      this.selection,
      this.paths,
      this.line,
      this.dots,
    );
    this.legend = html("div", "chart-legend");
    this.moment = html("span", "chart-moment");
    this.table = html("div", "chart-table");
    this.table.tabIndex = 0;
    this.table.setAttribute("role", "region");
    this.table.setAttribute("aria-label", `${options.label}, as a table`);
    this.table.hidden = true;
    this.root = html("section", "chart");
    this.root.append(this.head, this.plot, this.legend, this.table);
    container.append(this.root);

    this.listen();
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(this.root);
    this.draw();
  }

  /**
   * @param {Series[]} series
   * @param {{range?: string, zoom?: Zoom | null}} [change]
   */
  update(series, change = {}) {
    this.series = series;
    if (change.range !== undefined) this.range = change.range;
    if (change.zoom !== undefined) this.zoom = change.zoom;
    this.draw();
  }

  destroy() {
    this.resizing.disconnect();
    this.root.remove();
  }

  /** The series that are drawn. */
  shown() {
    return this.series.filter(({ name }) => !this.hidden.has(name));
  }

  /** The times that are shown. @returns {Zoom} */
  window() {
    if (this.zoom) return this.zoom;
    const ends = this.series.map(({ values }) => values[values.length - 1]?.[0] ?? 0);
    const end = Math.max(0, ...ends) || Date.now();
    const age_s = RANGES.find(({ name }) => name === this.range)?.age_s ?? 600;
    return [end - age_s * 1000, end];
  }

  /** @param {string} range */
  chooseRange(range) {
    this.range = range;
    this.zoom = null;
    this.draw();
    this.options.onRange?.(range);
  }

  /** @param {Zoom | null} zoom */
  chooseZoom(zoom) {
    this.zoom = zoom;
    this.draw();
    // A button that goes away must not take the focus with it.
    if (document.activeElement === document.body) this.plot.focus();
    this.options.onZoom?.(zoom);
  }

  /** @param {string} name */
  toggle(name) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    this.draw();
    this.options.onHidden?.([...this.hidden]);
  }

  toggleTable() {
    this.table.hidden = !this.table.hidden;
    this.tableButton.setAttribute("aria-expanded", String(!this.table.hidden));
    this.drawTable();
  }

  listen() {
    const plot = this.plot;
    plot.addEventListener("pointerdown", (event) => this.press(event));
    plot.addEventListener("pointermove", (event) => this.move(event));
    plot.addEventListener("pointerup", (event) => this.release(event));
    plot.addEventListener("pointercancel", () => this.endDrag());
    plot.addEventListener("pointerleave", () => this.readOut(null));
    plot.addEventListener("dblclick", () => this.chooseZoom(null));
    plot.addEventListener("blur", () => this.readOut(null));
    plot.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.altKey && this.pressKey(event.key)) event.preventDefault();
    });
  }

  /** @param {MouseEvent} event */
  xOf(event) {
    return event.clientX - this.plot.getBoundingClientRect().left;
  }

  /** @param {number} x */
  timeAt(x) {
    const [from, to] = this.window();
    const inside = Math.min(Math.max(x, MARGIN.left), this.width - MARGIN.right);
    return linear(MARGIN.left, this.width - MARGIN.right, from, to)(inside);
  }

  /** @param {PointerEvent} event */
  press(event) {
    // A finger that moves reads values out; it cannot say that it wants to zoom.
    if (event.pointerType === "touch" || event.button !== 0) return;
    this.dragged = this.xOf(event);
    this.plot.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const x = this.xOf(event);
    this.readOut(this.timeAt(x));
    if (this.dragged === null) return;
    const left = Math.max(MARGIN.left, Math.min(x, this.dragged));
    const right = Math.min(this.width - MARGIN.right, Math.max(x, this.dragged));
    set(this.selection, {
      visibility: "visible",
      x: left,
      width: Math.max(0, right - left),
      y: MARGIN.top,
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    });
  }

  /** @param {PointerEvent} event */
  release(event) {
    const start = this.dragged;
    const end = this.xOf(event);
    this.endDrag();
    if (start === null || Math.abs(end - start) < DRAG_LEAST_PX) return;
    const [from, to] = [this.timeAt(Math.min(start, end)), this.timeAt(Math.max(start, end))];
    this.chooseZoom([Math.round(from), Math.round(to)]);
  }

  endDrag() {
    this.dragged = null;
    set(this.selection, { visibility: "hidden" });
  }

  /**
   * @param {string} key
   * @returns {boolean} whether the key means something
   */
  pressKey(key) {
    const [from, to] = this.window();
    const times = this.times();
    const at = this.cursor ?? to;
    const index = times.indexOf(at);
    const next = { ArrowLeft: (index < 0 ? times.length : index) - 1, ArrowRight: index + 1, Home: 0, End: times.length - 1 }[key];
    if (next !== undefined) {
      if (times.length) this.readOut(times[Math.min(Math.max(next, 0), times.length - 1)]);
    } else if (key === "+" || key === "-") {
      const half = ((to - from) / 2) * (key === "+" ? 0.5 : 2);
      this.chooseZoom([Math.round(at - half), Math.round(at + half)]);
    } else if (key === "Escape" && (this.cursor !== null || this.zoom)) {
      if (this.cursor === null) this.chooseZoom(null);
      this.readOut(null);
    } else return false;
    return true;
  }

  /** The times of the samples that are shown. */
  times() {
    const [from, to] = this.window();
    const all = new Set(this.shown().flatMap(({ values }) => values.map(([at]) => at)));
    return [...all].filter((at) => at >= from && at <= to).sort((one, other) => one - other);
  }

  draw() {
    const width = Math.floor(this.root.clientWidth);
    if (!width) return;
    this.width = width;
    const inner = Math.max(1, width - MARGIN.left - MARGIN.right);
    set(this.plot, { width, viewBox: `0 0 ${width} ${HEIGHT}` });
    set(this.paths, { width: inner, viewBox: `${MARGIN.left} 0 ${inner} ${HEIGHT}` });
    const [from, to] = this.window();
    const whole = this.options.unit === "messages" || this.options.unit === "";
    const most = largest(this.shown().map(({ values }) => values), from, to);
    const ticks = this.options.unit.startsWith("B") ? byteTicks(most) : valueTicks(most, 4, whole);
    this.x = linear(from, to, MARGIN.left, width - MARGIN.right);
    this.y = linear(0, ticks[ticks.length - 1], HEIGHT - MARGIN.bottom, MARGIN.top);
    this.drawGrid(ticks, from, to);
    this.drawLines(from, to);
    this.ranges.forEach((each, index) => {
      each.setAttribute("aria-pressed", String(RANGES[index].name === this.range && !this.zoom));
    });
    this.back.hidden = !this.zoom;
    this.tableButton.setAttribute("aria-expanded", String(!this.table.hidden));
    this.readOut(this.cursor);
    this.drawTable();
  }

  /**
   * @param {number[]} ticks
   * @param {number} from
   * @param {number} to
   */
  drawGrid(ticks, from, to) {
    const [x, y] = [/** @type {(at: number) => number} */ (this.x), /** @type {(value: number) => number} */ (this.y)];
    const right = this.width - MARGIN.right;
    const parts = Math.max(2, Math.floor((right - MARGIN.left) / 90));
    const times = timeTicks(from, to, parts);
    this.grid.replaceChildren(
      ...ticks.flatMap((value) => [
        svg("line", { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value) }),
        svg("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, valueText(value, this.options.unit)),
      ]),
      ...times.ticks.map((at) =>
        svg("text", { x: Math.min(Math.max(x(at), MARGIN.left), right - 12), y: HEIGHT - 6, "text-anchor": "middle" }, timeText(at, times.step)),
      ),
    );
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  drawLines(from, to) {
    while (this.lines.length < this.series.length) this.addLine(this.lines.length);
    this.lines.forEach(({ button, path, dot }, index) => {
      const series = this.series[index];
      const visible = series !== undefined && !this.hidden.has(series.name);
      button.hidden = series === undefined;
      set(path, { visibility: visible ? "visible" : "hidden" });
      if (!series) return;
      const swatch = /** @type {SVGElement} */ (button.querySelector("line"));
      for (const element of [path, swatch]) {
        element.style.stroke = series.color;
        set(element, { "stroke-dasharray": DASHES[index % DASHES.length] });
      }
      dot.style.fill = series.color;
      button.setAttribute("aria-pressed", String(visible));
      const name = /** @type {HTMLElement} */ (button.querySelector(".chart-name"));
      if (name.textContent !== series.name) name.textContent = series.name;
      if (!visible || !this.x || !this.y) return;
      // The neighbours outside are drawn, too, so that the line goes to the edge.
      const first = series.values.findIndex(([at]) => at >= from);
      const last = series.values.findLastIndex(([at]) => at <= to);
      const inside = first < 0 ? [] : series.values.slice(Math.max(0, first - 1), last + 2);
      set(path, { d: linePath(inside, this.x, this.y) });
    });
  }

  /** @param {number} index */
  addLine(index) {
    const value = html("span", "chart-value");
    const swatch = svg("svg", { class: "chart-swatch", width: 22, height: 8, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 22, y1: 4, y2: 4 }));
    const toggle = button("chart-series", "", () => this.toggle(this.series[index].name));
    toggle.append(swatch, html("span", "chart-name"), value);
    const path = svg("path", { class: "chart-line" });
    const dot = svg("circle", { class: "chart-dot", r: 3.5, visibility: "hidden" });
    this.paths.append(path);
    this.dots.append(dot);
    this.lines.push({ button: toggle, value, path, dot });
    this.legend.append(toggle, this.moment);
  }

  /**
   * Show the values at a time, or the last ones.
   * @param {number | null} at
   */
  readOut(at) {
    this.cursor = at;
    const [from, to] = this.window();
    /** @type {string[]} */
    const texts = [];
    let time = at ?? to;
    this.lines.forEach(({ value, dot }, index) => {
      const series = this.series[index];
      if (!series || !this.x || !this.y) return;
      const found = series.values[nearest(series.values, at ?? to)];
      const visible = !this.hidden.has(series.name) && found !== undefined;
      const number = found && found[0] >= from && found[0] <= to ? found[1] : null;
      const text = valueText(number, this.options.unit);
      if (value.textContent !== text) value.textContent = text;
      if (visible) {
        texts.push(`${series.name} ${text}`);
        time = found[0];
      }
      const marked = at !== null && visible && number !== null;
      set(dot, { visibility: marked ? "visible" : "hidden" });
      if (marked) set(dot, { cx: this.x(found[0]), cy: this.y(number) });
    });
    if (this.x) {
      const x = this.x(time);
      set(this.line, { visibility: at === null ? "hidden" : "visible", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    }
    const moment = at === null ? "" : momentText(time);
    if (this.moment.textContent !== moment) this.moment.textContent = moment;
    set(this.plot, {
      "aria-valuemin": Math.round(from),
      "aria-valuemax": Math.round(to),
      "aria-valuenow": Math.round(Math.min(Math.max(time, from), to)),
      "aria-valuetext": `${momentText(time)}: ${texts.join(", ") || "no values"}`,
    });
  }

  drawTable() {
    if (this.table.hidden) return;
    const shown = this.shown();
    const times = this.times().reverse().slice(0, TABLE_ROWS_MAX);
    const values = shown.map((series) => new Map(series.values));
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of ["Time", ...shown.map(({ name }) => name)]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = text;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const at of times) {
      const row = body.insertRow();
      row.insertCell().textContent = momentText(at);
      for (const each of values) row.insertCell().textContent = valueText(each.get(at), this.options.unit);
    }
    const { scrollTop } = this.table;
    this.table.replaceChildren(table);
    this.table.scrollTop = scrollTop;
  }
}

/**
 * Draw a chart into a container.
 * @param {HTMLElement} container
 * @param {ChartOptions} options
 * @returns {Chart}
 */
export function chart(container, options) {
  const drawn = new LineChart(container, options);
  return {
    update: (series, change) => drawn.update(series, change),
    destroy: () => drawn.destroy(),
  };
}
