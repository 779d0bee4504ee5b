// The landmarks in the plane of their graph's first two eigenvectors, and the input among them.

import { byId, el, svg } from "./dom.js";
import { KINDS, mark } from "./marks.js";

const SIDE = 100;
const MARGIN = 6;

function fitted(values) {
  const low = Math.min(...values);
  const width = Math.max(...values) - low || 1;
  return (value) => MARGIN + ((SIDE - 2 * MARGIN) * (value - low)) / width;
}

function legend(labels, classes) {
  const shown = labels.slice(0, KINDS);
  const items = shown.map((label) =>
    el("li", {},
      svg("svg", { viewBox: "-1.3 -1.3 2.6 2.6", width: 12, height: 12, "aria-hidden": "true" }, mark(label, 0, 0, 1)),
      el("span", {}, classes?.[label] ?? `class ${label}`)));
  if (labels.length > shown.length) items.push(el("li", {}, `and ${labels.length - shown.length} more`));
  return el("ul", { class: "legend" }, ...items);
}

/** The map of a guard; returns a function that shows an input's place on it. */
export function map(guard) {
  const { points, classes, layer } = guard;
  if (!points.length) {
    byId("map").replaceChildren(
      el("p", { class: "hint" }, "This guard keeps too few landmarks to draw a map of them."),
    );
    return () => {};
  }
  const across = fitted(points.map((point) => point.x));
  const down = fitted(points.map((point) => -point.y));
  const within = (value) => Math.min(SIDE - 2, Math.max(2, value));
  const ring = svg("circle", { class: "here-ring", r: 4.2 });
  const dot = svg("circle", { class: "here", r: 1.7 });
  const title = svg("title", { id: "map-text" });
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img", "aria-labelledby": "map-text" },
    title,
    svg("g", { class: "landmarks" }, ...points.map(({ x, y, label }) => mark(label, across(x), down(-y), 1.15))),
    ring, dot,
  );
  const note = el("p", { class: "hint" });
  const labels = [...new Set(points.map((point) => point.label))].sort((a, b) => a - b);
  byId("map").replaceChildren(
    picture,
    legend(labels, classes),
    note,
  );

  return (found) => {
    const shown = found.place !== null;
    for (const node of [ring, dot]) node.classList.toggle("away", !shown);
    if (shown) {
      const [x, y] = [within(across(found.place[0])), within(down(-found.place[1]))];
      for (const node of [ring, dot]) {
        node.setAttribute("cx", x);
        node.setAttribute("cy", y);
      }
      ring.classList.toggle("flagged", found.flagged);
      dot.classList.toggle("flagged", found.flagged);
    }
    note.textContent = shown
      ? `${points.length} clean landmarks by their bits in ${layer}: across, the Fiedler vector; upwards, the next eigenvector. The ring is this picture.`
      : "The place of this picture cannot be told from its bits.";
    const nearest = shown ? nearestLabels(points, found.place, classes) : "";
    title.textContent = `Map of ${points.length} landmarks. ${nearest}`;
  };
}

function nearestLabels(points, [x, y], classes) {
  const spread = (axis) => {
    const values = points.map((point) => point[axis]);
    return Math.max(...values) - Math.min(...values) || 1;
  };
  const [width, height] = [spread("x"), spread("y")];
  const near = [...points]
    .sort((a, b) => far(a) - far(b))
    .slice(0, 5)
    .map((point) => classes?.[point.label] ?? `class ${point.label}`);
  return `The picture lies near landmarks of: ${[...new Set(near)].join(", ")}.`;

  function far(point) {
    return ((point.x - x) / width) ** 2 + ((point.y - y) / height) ** 2;
  }
}
