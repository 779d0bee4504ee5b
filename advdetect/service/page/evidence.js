// What each layer adds to the score: to the right it speaks for an attack, to the left against.

import { breakable, byId, el, svg } from "./dom.js";

const MOST = 10;

function chosen(evidence) {
  const layers = Object.entries(evidence);
  if (layers.length <= MOST) return layers;
  const strong = [...layers].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST - 1);
  const names = new Set(strong.map(([name]) => name));
  const rest = layers.filter(([name]) => !names.has(name));
  const total = rest.reduce((sum, [, value]) => sum + value, 0);
  return [...layers.filter(([name]) => names.has(name)), [`${rest.length} others`, total]];
}

function bar(value, most) {
  const width = (47 * Math.abs(value)) / most;
  return svg(
    "svg",
    { width: "100%", height: 16, "aria-hidden": "true" },
    svg("line", { class: "zero", x1: "50%", x2: "50%", y1: 0, y2: 16 }),
    svg("rect", {
      class: value > 0 ? "against" : "for",
      x: `${value > 0 ? 50 : 50 - width}%`, y: 3, width: `${width}%`, height: 10, rx: 2,
    }),
  );
}

function signed(value) {
  const size = Math.abs(value).toFixed(1);
  if (size === "0.0") return size;
  return `${value > 0 ? "+" : "−"}${size}`;
}

export function showEvidence({ evidence }) {
  const rows = chosen(evidence);
  if (!rows.length) {
    byId("evidence").replaceChildren(
      el("p", { class: "hint" }, "This guard's detector weighs all layers together, and cannot say what each adds."),
    );
    return;
  }
  const most = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-9);
  const body = rows.map(([name, value]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, ...breakable(name)),
      el("td", { class: "bar" }, bar(value, most)),
      el("td", {}, signed(value)),
    ),
  );
  byId("evidence").replaceChildren(
    el(
      "table",
      {},
      el("caption", { class: "hidden" }, "What each layer adds to the score; above 0 it speaks for an attack"),
      el("thead", {}, el("tr", {},
        el("th", { scope: "col" }, "Layer"),
        el("th", { scope: "col", class: "sides" }, el("span", {}, "clean"), el("span", {}, "attack")),
        el("th", { scope: "col" }, el("span", { class: "hidden" }, "Score")))),
      el("tbody", {}, ...body),
    ),
  );
}
