/**
 * Elements: make them, and change what is there into what should be there.
 *
 * Text is always text; nothing here takes HTML. `morph` keeps the elements that are there, so that
 * the focus, the selection and the scroll position stay while live data come in.
 */

/**
 * @typedef {Node | string | number | null | undefined | false} Leaf
 * @typedef {Leaf | any[]} Child Arrays may be nested.
 * @typedef {{[name: string]: any}} Attributes
 * @typedef {Element & {handlers?: {[event: string]: (event: any) => void}, key?: string}} Extended
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. Attributes named `on` and an event take a function, `key` identifies the element
 * among its siblings for `morph`, `style` takes an object of CSS properties, `opaque` keeps `morph`
 * out of the children.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  assign(element, attributes);
  append(element, children);
  return element;
}

/**
 * An SVG element; attributes as for `h`.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Attributes | null} [attributes]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  assign(element, attributes);
  append(element, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Attributes | null | undefined} attributes
 */
function assign(element, attributes) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      listen(element, name.slice(2), value);
    } else if (name === "key") {
      /** @type {Extended} */ (element).key = String(value);
    } else if (name === "style") {
      for (const [property, text] of Object.entries(value)) {
        // The content security policy refuses the attribute, and permits this.
        /** @type {HTMLElement} */ (element).style.setProperty(property, String(text));
      }
    } else if (name === "value" && "value" in element) {
      element.value = value;
    } else if (name === "checked" && element instanceof HTMLInputElement) {
      element.checked = true;
    } else if (name === "opaque") {
      element.setAttribute("data-opaque", "");
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/**
 * Listens such that `morph` can replace the function.
 *
 * @param {Extended} element
 * @param {string} event
 * @param {(event: any) => void} handler
 */
function listen(element, event, handler) {
  const handlers = (element.handlers ??= {});
  if (!(event in handlers)) {
    element.addEventListener(event, (given) => element.handlers?.[event]?.(given));
  }
  handlers[event] = handler;
}

/**
 * @param {Node} parent
 * @param {Child} children
 */
export function append(parent, children) {
  if (Array.isArray(children)) {
    for (const child of children) {
      append(parent, child);
    }
  } else if (children instanceof Node) {
    parent.appendChild(children);
  } else if (children !== null && children !== undefined && children !== false) {
    parent.appendChild(document.createTextNode(String(children)));
  }
}

/**
 * Makes the children of an element equal to the given ones, and keeps what is equal already.
 *
 * @param {Element} parent
 * @param {...Child} children
 */
export function morph(parent, ...children) {
  const wanted = document.createDocumentFragment();
  append(wanted, children);
  const focused = document.activeElement;
  morphChildren(parent, wanted);
  // An element that is moved loses the focus.
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

/**
 * @param {Node} parent
 * @param {Node} wanted
 */
function morphChildren(parent, wanted) {
  /** @type {Map<string, ChildNode>} */
  const keyed = new Map();
  for (const child of parent.childNodes) {
    const key = keyOf(child);
    if (key !== undefined) {
      keyed.set(key, child);
    }
  }
  let at = parent.firstChild;
  for (const child of [...wanted.childNodes]) {
    const key = keyOf(child);
    let found = key === undefined ? at : (keyed.get(key) ?? null);
    if (key !== undefined && found && found !== at) {
      parent.insertBefore(found, at);
    }
    if (!found || (key === undefined && keyOf(found) !== undefined) || !isAlike(found, child)) {
      if (found && found !== at) {
        found.remove();
        found = null;
      }
      parent.insertBefore(child, at);
      continue;
    }
    if (key !== undefined) {
      keyed.delete(key);
    }
    at = found.nextSibling;
    morphNode(found, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** @param {Node} node */
function keyOf(node) {
  return node instanceof Element ? /** @type {Extended} */ (node).key : undefined;
}

/**
 * @param {Node} one
 * @param {Node} other
 */
function isAlike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

/**
 * Makes an element equal to another one of its kind.
 *
 * @param {Node} node
 * @param {Node} wanted
 */
export function morphNode(node, wanted) {
  if (!(node instanceof Element && wanted instanceof Element)) {
    if (node.nodeValue !== wanted.nodeValue) {
      node.nodeValue = wanted.nodeValue;
    }
    return;
  }
  morphAttributes(node, wanted);
  for (const [event, handler] of Object.entries(/** @type {Extended} */ (wanted).handlers ?? {})) {
    listen(node, event, handler);
  }
  if (!wanted.hasAttribute("data-opaque")) {
    morphChildren(node, wanted);
  }
}

/**
 * @param {Element} node
 * @param {Element} wanted
 */
function morphAttributes(node, wanted) {
  for (const { name, value } of wanted.attributes) {
    if (name !== "tabindex" && node.getAttribute(name) !== value) {
      node.setAttribute(name, value);
    }
  }
  for (const { name } of [...node.attributes]) {
    // What is open, and which row of a table the keyboard is at, is the reader's business.
    if (name !== "open" && name !== "tabindex" && !wanted.hasAttribute(name)) {
      node.removeAttribute(name);
    }
  }
  if (node instanceof HTMLInputElement && wanted instanceof HTMLInputElement) {
    node.checked = wanted.checked;
    if (node !== document.activeElement && node.value !== wanted.value) {
      node.value = wanted.value;
    }
  } else if (node instanceof HTMLSelectElement && wanted instanceof HTMLSelectElement) {
    if (node !== document.activeElement) {
      node.value = wanted.value;
    }
  }
}

/**
 * A small picture beside a word, which says nothing that the word does not say.
 *
 * @param {string} path the path data of a 16 by 16 drawing
 */
export function icon(path) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    s("path", { d: path }),
  );
}
