/** Attributes of elements that are drawn over and over. */

/**
 * Changes attributes, and only those that differ: what does not change is not drawn anew.
 *
 * @param {Element} element
 * @param {{[name: string]: string | number | boolean | null | undefined}} attributes null and false remove one
 */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      element.removeAttribute(name);
    } else if (element.getAttribute(name) !== String(value)) {
      element.setAttribute(name, String(value));
    }
  }
}
