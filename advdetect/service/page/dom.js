// Elements, made without markup in strings: nothing that came over the network becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** An HTML element: `el("p", { class: "hint" }, "text", another)`. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A dotted name that may break after its dots. */
export const breakable = (name) =>
  name.split(/(?<=[._/])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));

export const byId = (id) => document.getElementById(id);
