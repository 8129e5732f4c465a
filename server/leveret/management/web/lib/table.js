/**
 * The table: every list of the page is one.
 *
 * Its rows come from a listing of the API, which does paging, sorting and filtering, and are live;
 * or from the page itself (`setRows`), and then it does all that here. Filter, sort, page and
 * columns are in the address. Keys: arrows, Home and End go through the rows, Page Up and Page Down
 * through the pages, Enter opens a row, Space selects it.
 */

import { withQuery } from "./api.js";
import { errorText } from "./dialog.js";
import { h, morph, morphNode } from "./dom.js";
import { complete, holds, lookUp, parse } from "./filter.js";
import { number, plain } from "./format.js";
import { watch } from "./live.js";
import { sampled, spark } from "./spark.js";
import { SIZE, TableBar } from "./table_bar.js";

/**
 * @typedef {import("./dom.js").Child} Child
 * @typedef {{[name: string]: any}} Row
 *
 * @typedef {object} Column
 * @property {string} name the field of the row; it is used in the address, in filters and exports
 * @property {string} title
 * @property {(row: Row) => Child} [show] what the cell has, if not just the value
 * @property {string[]} [needs] the fields that `show` reads, if not just that of the name
 * @property {string | null} [sort] the field to sort by, if not that of the name; null for none
 * @property {boolean} [number] whether it is aligned to the right, and first sorted downwards
 * @property {boolean} [wide] whether it takes the width that is left, and is cut where there is none
 * @property {boolean} [hidden] whether it is shown only if somebody chooses it
 * @property {1 | 2 | 3} [priority] 1 is shown on a telephone, 2 on a tablet, 3 on a wide screen
 * @property {string} [hint] what the column means
 *
 * @typedef {object} Action
 * @property {string} label a verb
 * @property {boolean} [danger]
 * @property {(rows: Row[]) => Promise<unknown>} run
 *
 * @typedef {object} Options
 * @property {string} name what the rows are, in the plural
 * @property {Column[]} columns
 * @property {import("./state.js").State} state
 * @property {string} [prefix] of its names in the address, if the view has several tables
 * @property {(row: Row) => string} key
 * @property {string[]} [fields] fields that every row needs, for key, href and actions
 * @property {(row: Row) => string} [href] the address of the row's view
 * @property {string} [path] of the listing
 * @property {{[name: string]: string | number}} [query] more parameters of the listing
 * @property {string} [sort] the sorting if the address has none: a column, "-" before it for downwards
 * @property {string} [filterHint] an example of a filter
 * @property {() => Child} empty what is said if there are no rows at all
 * @property {Action[]} [actions] on the rows that are selected
 * @property {(row: Row) => void} [open] what opening a row does, if rows have no address
 * @property {() => string} [opened] the key of the row that is open
 * @property {boolean} [withoutFilter] whether the view has a search of its own
 * @property {Child} [tools] more to the left of the bar
 * @property {{title: string, details: string, query: {[name: string]: string | number}}} [spark] a
 *   history of each row: the field with its samples, and the parameters that ask for them
 *
 * @typedef {object} Table
 * @property {(rows: Row[]) => void} setRows
 * @property {(path: string) => void} setPath
 * @property {() => Row[]} selected
 * @property {() => void} destroy
 */


/**
 * @param {Element} container
 * @param {Options} options
 * @returns {Table}
 */
export function table(container, options) {
  return new TableView(container, options);
}

export class TableView {
  /**
   * @param {Element} container
   * @param {Options} options
   */
  constructor(container, options) {
    this.options = options;
    this.prefix = options.prefix ?? "";
    this.path = options.path;
    /** @type {Row[]} rows of the page itself, if there is no listing */
    this.own = [];
    /** @type {Row[]} rows that are shown */
    this.rows = [];
    /** @type {Map<string, number[]>} */
    this.histories = new Map();
    /** @type {Map<string, {element: HTMLTableRowElement, made: string}>} by the keys of rows: what
     * is shown, and what of */
    this.elements = new Map();
    /** @type {Map<string, Row>} */
    this.selection = new Map();
    this.filtered = 0;
    this.total = 0;
    this.isLoaded = false;
    /** @type {string | null} the key of the row that the keyboard is at */
    this.current = null;
    /** @type {(() => void)[]} */
    this.stops = [];

    this.body = h("tbody");
    this.head = h("thead");
    this.problem = h("div", { class: "problem", role: "alert" });
    this.blank = h("div", { class: "blank" });
    this.bar = new TableBar(this);
    this.scroll = h(
      "div",
      { class: "table-scroll" },
      h("table", null, h("caption", { class: "unseen" }, options.name), this.head, this.body),
    );
    this.element = h(
      "div",
      { class: "table" },
      this.bar.element,
      this.problem,
      this.scroll,
      this.blank,
    );
    this.body.addEventListener("keydown", (event) => this.onKey(event));
    this.body.addEventListener("click", (event) => this.onClick(event));
    this.body.addEventListener("focusin", (event) => this.onFocus(event));
    container.append(this.element);
    const unlisten = options.state.listen(() => this.load());
    this.unlisten = unlisten;
    this.bar.show();
    this.load();
  }

  /** @param {Row[]} rows */
  setRows(rows) {
    this.own = rows;
    this.isLoaded = true;
    this.showOwn();
  }

  /** @param {string} path */
  setPath(path) {
    this.path = path;
    this.selection.clear();
    this.load();
  }

  selected() {
    return [...this.selection.values()];
  }

  destroy() {
    this.unlisten();
    this.stop();
    clearTimeout(this.bar.typing);
    this.element.remove();
  }

  stop() {
    for (const stop of this.stops.splice(0)) {
      stop();
    }
  }

  // State

  /**
   * @param {string} name
   * @param {string} [otherwise]
   */
  get(name, otherwise) {
    return this.options.state.get(this.prefix + name, otherwise);
  }

  /** @param {{[name: string]: string | number | null}} values */
  set(values) {
    this.options.state.set(
      Object.fromEntries(
        Object.entries(values).map(([name, value]) => [this.prefix + name, value]),
      ),
    );
  }

  get sort() {
    return this.get("sort", this.options.sort ?? "");
  }

  get page() {
    return Math.max(1, Number(this.get("page", "1")) || 1);
  }

  get size() {
    return Number(this.get("size", String(SIZE))) || SIZE;
  }

  get isChosen() {
    return this.get("columns") !== "";
  }

  get columns() {
    const chosen = this.get("columns");
    if (!chosen) {
      return this.options.columns.filter((column) => !column.hidden);
    }
    const names = chosen.split(",");
    return this.options.columns.filter((column) => names.includes(column.name));
  }

  // Rows

  /** @returns {{[name: string]: string | number | boolean}} */
  listingQuery() {
    const descending = this.sort.startsWith("-");
    const name = descending ? this.sort.slice(1) : this.sort;
    const column = this.options.columns.find((each) => each.name === name);
    return {
      ...this.options.query,
      filter: complete(this.get("filter")),
      sort: column?.sort ?? name,
      sort_reverse: descending,
    };
  }

  load() {
    this.stop();
    if (this.path === undefined) {
      this.showOwn();
      return;
    }
    const query = { ...this.listingQuery(), page: this.page, page_size: this.size };
    const fields = new Set(this.options.fields);
    for (const column of this.columns) {
      (column.needs ?? [column.name]).forEach((field) => fields.add(field));
    }
    this.stops.push(
      watch(
        withQuery(this.path, { ...query, columns: [...fields].join(",") }),
        (body) => this.receive(body),
        (error) => {
          if (error.status === 404 && this.page > 1) {
            this.set({ page: null });
          } else {
            morph(this.problem, errorText(error));
          }
        },
      ),
    );
    const history = this.options.spark;
    if (history) {
      const wanted = [...(this.options.fields ?? []), history.details].join(",");
      this.stops.push(
        watch(
          withQuery(this.path, { ...query, ...history.query, columns: wanted }),
          (body) => this.receiveHistories(body),
        ),
      );
    }
    this.bar.show();
    this.showHead();
  }

  /** @param {any} body */
  receive(body) {
    const items = Array.isArray(body) ? body : body.items;
    this.filtered = body.filtered_count ?? items.length;
    this.total = body.total_count ?? items.length;
    this.isLoaded = true;
    morph(this.problem);
    if (items.length === 0 && this.page > 1) {
      this.set({ page: null });
      return;
    }
    this.rows = this.steady(items);
    this.show();
  }

  /** @param {any} body */
  receiveHistories(body) {
    const details = this.options.spark?.details ?? "";
    for (const row of Array.isArray(body) ? body : body.items) {
      this.histories.set(this.options.key(row), sampled(lookUp(row, details)));
    }
    this.show();
  }

  /**
   * Rows in the order in which they are shown, as long as somebody points at them.
   *
   * @param {Row[]} rows
   */
  steady(rows) {
    if (!this.body.matches(":hover, :focus-within") || this.heldSort !== this.sort) {
      this.heldSort = this.sort;
      return rows;
    }
    const places = new Map(this.rows.map((row, index) => [this.options.key(row), index]));
    const place = (/** @type {Row} */ row) => places.get(this.options.key(row)) ?? Infinity;
    return rows.every((row) => places.has(this.options.key(row)))
      ? [...rows].sort((one, other) => place(one) - place(other))
      : rows;
  }

  /** Filters, sorts and pages rows of the page itself. */
  showOwn() {
    const terms = parse(this.get("filter"));
    const descending = this.sort.startsWith("-");
    const name = descending ? this.sort.slice(1) : this.sort;
    const found = this.own.filter((row) => holds(terms, row));
    if (name) {
      const field = this.options.columns.find((column) => column.name === name)?.sort ?? name;
      found.sort((one, other) => compare(lookUp(one, field), lookUp(other, field)));
      if (descending) {
        found.reverse();
      }
    }
    this.total = this.own.length;
    this.filtered = found.length;
    const pages = Math.max(1, Math.ceil(found.length / this.size));
    const page = Math.min(this.page, pages);
    this.rows = found.slice((page - 1) * this.size, page * this.size);
    this.show();
  }

  // Showing

  show() {
    this.bar.show();
    this.showHead();
    this.showBody();
  }

  showHead() {
    morph(
      this.head,
      h(
        "tr",
        null,
        this.options.actions ? h("th", { key: "select", class: "select" }, this.selectAll()) : null,
        this.columns.map((column) => this.headCell(column)),
        this.options.spark
          ? h("th", { key: "spark", scope: "col", class: "p2" }, this.options.spark.title)
          : null,
      ),
    );
  }

  /** @param {Column} column */
  headCell(column) {
    const isDescending = this.sort === `-${column.name}`;
    const isSorted = isDescending || this.sort === column.name;
    const order = isSorted ? (isDescending ? "descending" : "ascending") : null;
    const attributes = {
      key: column.name,
      scope: "col",
      class: this.cellClass(column),
      "aria-sort": order,
      title: column.hint,
    };
    if (column.sort === null) {
      return h("th", attributes, column.title);
    }
    return h(
      "th",
      attributes,
      h(
        "button",
        { type: "button", onclick: () => this.sortBy(column) },
        column.title,
        h(
          "span",
          { class: "order", "aria-hidden": "true" },
          isSorted ? (isDescending ? "▼" : "▲") : "",
        ),
      ),
    );
  }

  /** @param {Column} column */
  cellClass(column) {
    // Who chose the columns gets them, on a narrow screen, too.
    const priority = this.isChosen ? 1 : (column.priority ?? 2);
    return `${column.number ? "number " : ""}${column.wide ? "wide " : ""}p${priority}`;
  }

  /** @param {Column} column */
  sortBy(column) {
    const up = column.name;
    const down = `-${column.name}`;
    const first = column.number ? down : up;
    const next = this.sort === first ? (first === up ? down : up) : first;
    this.set({ sort: next === this.options.sort ? null : next, page: null });
  }

  selectAll() {
    const keys = this.rows.map((row) => this.options.key(row));
    const isAll = keys.length > 0 && keys.every((key) => this.selection.has(key));
    return h("input", {
      type: "checkbox",
      "aria-label": `Select all ${this.options.name} of this page`,
      checked: isAll,
      onchange: () => {
        for (const row of this.rows) {
          this.select(row, !isAll);
        }
        this.show();
      },
    });
  }

  /**
   * @param {Row} row
   * @param {boolean} wanted
   */
  select(row, wanted) {
    if (wanted) {
      this.selection.set(this.options.key(row), row);
    } else {
      this.selection.delete(this.options.key(row));
    }
  }

  showBody() {
    const focused = document.activeElement;
    const index = this.body.contains(focused) ? focused?.closest("tr")?.sectionRowIndex : undefined;
    this.showRows();
    this.setCurrent(this.current);
    if (index !== undefined && focused instanceof HTMLElement && focused !== document.activeElement) {
      // A row that was moved loses the focus; if it is gone, the keyboard goes on at its place.
      const next = this.body.contains(focused) ? focused : this.rowAt(index);
      next?.focus({ preventScroll: true });
    }
    const isEmpty = this.isLoaded && this.rows.length === 0;
    this.scroll.hidden = isEmpty;
    if (!isEmpty) {
      morph(this.blank);
    } else if (this.get("filter") && this.total > 0) {
      morph(
        this.blank,
        h("p", null, `None of ${number(this.total)} ${this.options.name} fits the filter.`),
        h(
          "button",
          { type: "button", onclick: () => this.bar.setFilter("") },
          "Remove the filter",
        ),
      );
    } else {
      morph(this.blank, this.options.empty());
    }
  }

  /** Makes elements of rows that are new or have changed, and puts all in their order. */
  showRows() {
    const columns = this.columns;
    const layout = columns.map((column) => column.name).join();
    const opened = this.options.opened?.();
    /** @type {Map<string, {element: HTMLTableRowElement, made: string}>} */
    const shown = new Map();
    let at = this.body.firstElementChild;
    for (const row of this.rows) {
      const key = this.options.key(row);
      if (shown.has(key)) {
        continue;
      }
      const state = [layout, this.selection.has(key), opened === key, this.histories.get(key)];
      const made = JSON.stringify([row, ...state]);
      const before = this.elements.get(key);
      const element = before?.element ?? this.rowElement(row, key, columns);
      if (before && before.made !== made) {
        morphNode(element, this.rowElement(row, key, columns));
      }
      shown.set(key, { element, made });
      if (element === at) {
        at = at.nextElementSibling;
      } else {
        this.body.insertBefore(element, at);
      }
    }
    for (const [key, { element }] of this.elements) {
      if (!shown.has(key)) {
        element.remove();
      }
    }
    this.elements = shown;
  }

  /**
   * @param {Row} row
   * @param {string} key
   * @param {Column[]} columns
   */
  rowElement(row, key, columns) {
    const isSelected = this.selection.has(key);
    if (isSelected) {
      this.selection.set(key, row);
    }
    return h(
      "tr",
      {
        "data-key": key,
        tabindex: -1,
        class: isSelected ? "selected" : null,
        "aria-current": this.options.opened?.() === key ? "true" : null,
      },
      this.options.actions
        ? h(
            "td",
            { class: "select" },
            h("input", {
              type: "checkbox",
              tabindex: -1,
              "aria-label": `Select ${key}`,
              checked: isSelected,
              onchange: () => {
                this.select(row, !this.selection.has(key));
                this.show();
              },
            }),
          )
        : null,
      columns.map((column) => h("td", { class: this.cellClass(column) }, cellOf(column, row))),
      this.options.spark
        ? h(
            "td",
            { class: "p2" },
            spark(this.histories.get(key) ?? [], this.options.spark.title),
          )
        : null,
    );
  }

  // Keyboard and pointer

  /** @param {number} index */
  rowAt(index) {
    const row = this.body.rows[Math.max(0, Math.min(index, this.body.rows.length - 1))];
    return row ?? null;
  }

  /**
   * Exactly one row is reached with Tab: that of the key, or the first one.
   *
   * @param {string | null} key
   */
  setCurrent(key) {
    const rows = [...this.body.rows];
    const found = rows.find((row) => row.dataset.key === key) ?? rows[0];
    for (const row of rows) {
      row.tabIndex = row === found ? 0 : -1;
    }
  }

  /** @param {FocusEvent} event */
  onFocus(event) {
    const row = event.target instanceof Element ? event.target.closest("tr") : null;
    if (row) {
      this.current = row.dataset.key ?? null;
      this.setCurrent(this.current);
    }
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const row = event.target instanceof HTMLTableRowElement ? event.target : null;
    if (!row || event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const index = row.sectionRowIndex;
    /** @type {{[key: string]: () => void}} */
    const does = {
      ArrowDown: () => this.rowAt(index + 1)?.focus(),
      ArrowUp: () => (index === 0 ? this.bar.filterInput.focus() : this.rowAt(index - 1)?.focus()),
      j: () => this.rowAt(index + 1)?.focus(),
      k: () => this.rowAt(index - 1)?.focus(),
      Home: () => this.rowAt(0)?.focus(),
      End: () => this.rowAt(Infinity)?.focus(),
      PageDown: () => this.page * this.size < this.filtered && this.bar.goTo(this.page + 1),
      PageUp: () => this.page > 1 && this.bar.goTo(this.page - 1),
      Enter: () => this.openRow(row),
      " ": () => row.querySelector("input")?.click(),
    };
    const action = does[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const target = event.target instanceof Element ? event.target : null;
    const row = target?.closest("tr");
    if (!row || target?.closest("a, button, input, label, select, details, summary")) {
      return;
    }
    if (!String(getSelection())) {
      this.openRow(row);
    }
  }

  /** @param {HTMLTableRowElement} element */
  openRow(element) {
    const { open, href, key } = this.options;
    const row = this.rows.find((each) => key(each) === element.dataset.key);
    if (open && row) {
      open(row);
      this.show();
    } else if (href) {
      element.querySelector("a")?.click();
    }
  }
}

/**
 * @param {Column} column
 * @param {Row} row
 * @returns {Child}
 */
function cellOf(column, row) {
  if (column.show) {
    return column.show(row);
  }
  const value = lookUp(row, column.name);
  if (value === null || value === undefined || value === "") {
    return h("span", { class: "none" }, "–");
  }
  return typeof value === "number" ? number(value) : plain(value);
}

/**
 * @param {any} one
 * @param {any} other
 */
function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") {
    return one - other;
  }
  return String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true });
}
