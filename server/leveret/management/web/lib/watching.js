/** What a view watches, so that it ends with the view. */

import { errorText } from "./dialog.js";
import { h, morph } from "./dom.js";
import { watch } from "./live.js";

/** A place for an error. */
export function problemBox() {
  return h("div", { class: "problem", role: "alert" });
}

export class Watching {
  constructor() {
    /** @type {(() => void)[]} */
    this.stops = [];
  }

  /**
   * Calls with the answer of a path, live. An error is shown in a box until an answer comes.
   *
   * @param {string} path
   * @param {(body: any) => void} onBody
   * @param {HTMLElement} [box]
   */
  watch(path, onBody, box) {
    this.add(
      watch(
        path,
        (body) => {
          if (box) {
            morph(box);
          }
          onBody(body);
        },
        (error) => box && morph(box, errorText(error)),
      ),
    );
  }

  /** @param {() => void} stop */
  add(stop) {
    this.stops.push(stop);
  }

  stop() {
    for (const stop of this.stops.splice(0)) {
      stop();
    }
  }
}
