/** The bar above a table: filter, what is done to selected rows, pages, columns, and copies. */

import { get, withQuery } from "./api.js";
import { copy, csv, download } from "./copying.js";
import { errorText } from "./dialog.js";
import { h, icon, morph } from "./dom.js";
import { holds, lookUp, parse } from "./filter.js";
import { number } from "./format.js";
import { menu } from "./menu.js";

/**
 * @typedef {import("./table.js").Row} Row
 */

const SIZES = [25, 50, 100, 250, 500];
export const SIZE = 100;
/** Rows of a page, if nobody has chosen another number. */
const TYPING_MS = 200;
/** Milliseconds after the last key before a filter is applied. */
const EXPORT_SIZE = 500;
/** Rows that one request asks for when all are wanted. */

export class TableBar {
  /** @param {import("./table.js").TableView} view */
  constructor(view) {
    this.view = view;
    this.element = h("div", { class: "table-bar" });
    /** @type {number | undefined} */
    this.typing = undefined;
    this.filterInput = this.makeFilter();
  }

  makeFilter() {
    const input = h("input", {
      type: "search",
      class: "filter",
      "aria-label": `Filter ${this.view.options.name}`,
      placeholder: this.view.options.filterHint ?? "Filter: text, or column=value",
      autocomplete: "off",
      spellcheck: "false",
      value: this.view.get("filter"),
    });
    input.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = window.setTimeout(() => this.setFilter(input.value), TYPING_MS);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        clearTimeout(this.typing);
        this.setFilter(input.value);
      } else if (event.key === "ArrowDown") {
        event.preventDefault();
        this.view.rowAt(0)?.focus();
      }
    });
    return input;
  }

  /** @param {string} filter */
  setFilter(filter) {
    if (this.filterInput.value !== filter) {
      this.filterInput.value = filter;
    }
    this.view.set({ filter: filter.trim() || null, page: null });
  }

  show() {
    // With nothing to filter, page or copy there is nothing to do but what the view offers.
    this.element.classList.toggle("idle", this.view.isLoaded && this.view.total === 0);
    const pages = Math.max(1, Math.ceil(this.view.filtered / this.view.size));
    const page = Math.min(this.view.page, pages);
    const from = this.view.filtered === 0 ? 0 : (page - 1) * this.view.size + 1;
    const to = Math.min(this.view.filtered, page * this.view.size);
    if (!this.parts) {
      this.parts = {
        selected: h("div", { class: "selected-bar" }),
        pager: h("div", { class: "pager" }),
        columns: menu(
          [icon(COLUMNS_ICON), h("span", { class: "label" }, "Columns")],
          h("div", { class: "columns" }),
        ),
      };
      morph(
        this.element,
        this.view.options.withoutFilter ? null : this.filterInput,
        this.view.options.tools ?? null,
        this.parts.selected,
        h("div", { class: "grow" }),
        this.parts.pager,
        this.parts.columns,
        this.copyMenu(),
      );
    }
    const { selected, pager, columns } = this.parts;
    const count =
      this.view.filtered === this.view.total
        ? `of ${number(this.view.total)}`
        : `of ${number(this.view.filtered)} (${number(this.view.total)} in all)`;
    morph(
      pager,
      h("span", { class: "count" }, `${number(from)}–${number(to)} ${count}`),
      pages > 1
        ? [
            this.pageButton("First page", "«", 1, page > 1),
            this.pageButton("Previous page", "‹", page - 1, page > 1),
            this.pageButton("Next page", "›", page + 1, page < pages),
            this.pageButton("Last page", "»", pages, page < pages),
          ]
        : null,
      this.view.filtered > this.view.size || this.view.size !== SIZE ? this.sizeSelect() : null,
    );
    morph(selected, this.selectedBar());
    const box = columns.querySelector(".columns");
    if (box) {
      morph(box, this.columnBoxes());
    }
  }

  /**
   * @param {string} label
   * @param {string} sign
   * @param {number} page
   * @param {boolean} isPossible
   */
  pageButton(label, sign, page, isPossible) {
    return h(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-label": label,
        title: label,
        disabled: !isPossible,
        onclick: () => this.goTo(page),
      },
      sign,
    );
  }

  /** @param {number} page */
  goTo(page) {
    this.view.scroll.scrollTop = 0;
    this.view.current = null;
    this.view.set({ page: page === 1 ? null : page });
  }

  sizeSelect() {
    return h(
      "select",
      {
        "aria-label": "Rows of a page",
        onchange: (/** @type {Event} */ event) => {
          const { value } = /** @type {HTMLSelectElement} */ (event.target);
          this.view.set({ size: Number(value) === SIZE ? null : value, page: null });
        },
      },
      SIZES.map((size) =>
        h("option", { value: size, selected: size === this.view.size }, `${size} rows`),
      ),
    );
  }

  selectedBar() {
    if (!this.view.options.actions || this.view.selection.size === 0) {
      return null;
    }
    return [
      h("span", null, `${number(this.view.selection.size)} selected`),
      this.view.options.actions.map((action) =>
        h(
          "button",
          {
            type: "button",
            class: action.danger ? "danger" : null,
            onclick: async () => {
              await action.run(this.view.selected());
              this.view.selection.clear();
              this.view.show();
            },
          },
          action.label,
        ),
      ),
      h(
        "button",
        {
          type: "button",
          class: "plain",
          onclick: () => {
            this.view.selection.clear();
            this.view.show();
          },
        },
        "Select none",
      ),
    ];
  }

  columnBoxes() {
    const shown = this.view.columns.map((column) => column.name);
    return [
      this.view.options.columns.map((column) =>
        h(
          "label",
          { key: column.name },
          h("input", {
            type: "checkbox",
            checked: shown.includes(column.name),
            onchange: () => {
              const names = shown.includes(column.name)
                ? shown.filter((name) => name !== column.name)
                : [...shown, column.name];
              this.view.set({ columns: names.join(",") || null });
            },
          }),
          column.title,
        ),
      ),
      h(
        "button",
        { key: "reset", type: "button", onclick: () => this.view.set({ columns: null }) },
        "Reset",
      ),
    ];
  }

  copyMenu() {
    const { name } = this.view.options;
    const item = (/** @type {string} */ label, /** @type {() => unknown} */ run) =>
      h("button", { type: "button", onclick: run }, label);
    return menu(
      [icon(COPY_ICON), h("span", { class: "label" }, "Copy")],
      [
        item("Copy this page as JSON", () =>
          copy(JSON.stringify(this.view.rows, null, 2), `${this.view.rows.length} ${name}`),
        ),
        item("Copy this page as CSV", () =>
          copy(this.asCsv(this.view.rows), `${this.view.rows.length} ${name}`),
        ),
        item("Download all as JSON", () => this.downloadAll("json")),
        item("Download all as CSV", () => this.downloadAll("csv")),
      ],
    );
  }

  /** @param {Row[]} rows */
  asCsv(rows) {
    const names = this.view.columns.map((column) => column.name);
    return csv([names, ...rows.map((row) => names.map((name) => lookUp(row, name)))]);
  }

  /** @param {"json" | "csv"} form */
  async downloadAll(form) {
    try {
      const rows = await this.allRows();
      const file = `${this.view.options.name.toLowerCase().replaceAll(" ", "-")}.${form}`;
      if (form === "json") {
        download(JSON.stringify(rows, null, 2), file, "application/json");
      } else {
        download(this.asCsv(rows), file, "text/csv");
      }
    } catch (error) {
      morph(this.view.problem, errorText(error));
    }
  }

  /** @returns {Promise<Row[]>} of all pages */
  async allRows() {
    if (this.view.path === undefined) {
      const terms = parse(this.view.get("filter"));
      return this.view.own.filter((row) => holds(terms, row));
    }
    const rows = [];
    for (let page = 1, pages = 1; page <= pages; page += 1) {
      const query = { ...this.view.listingQuery(), page, page_size: EXPORT_SIZE };
      const found = await get(withQuery(this.view.path, query));
      rows.push(...found.items);
      pages = found.page_count;
    }
    return rows;
  }
}

const COLUMNS_ICON = "M2 3h3v10H2zM6.500 3h3v10h-3zM11 3h3v10h-3z";
const COPY_ICON = "M5 1h9v10h-2V3H5zM2 5h8v10H2z";
