// A class's own colour and shape: no class is told from another by colour alone.

import { svg } from "./dom.js";

const polygon = (n, turn, inner = 1) =>
  Array.from({ length: inner === 1 ? n : 2 * n }, (_, i) => {
    const angle = turn + (2 * Math.PI * i) / (inner === 1 ? n : 2 * n);
    const radius = inner !== 1 && i % 2 ? inner : 1;
    return `${(radius * Math.cos(angle)).toFixed(3)} ${(radius * Math.sin(angle)).toFixed(3)}`;
  });
const closed = (points) => `M${points.join("L")}Z`;
const UP = -Math.PI / 2;

const SHAPES = [
  "M-.85 0a.85.85 0 1 0 1.7 0a.85.85 0 1 0-1.7 0Z",
  "M-.75-.75H.75V.75H-.75Z",
  closed(polygon(3, UP)),
  closed(polygon(4, UP)),
  "M-.32-1H.32V-.32H1V.32H.32V1H-.32V.32H-1V-.32H-.32Z",
  closed(polygon(3, -UP)),
  closed(polygon(5, UP, 0.42)),
  "M-1-.6L-.6-1L0-.4L.6-1L1-.6L.4 0L1 .6L.6 1L0 .4L-.6 1L-1 .6L-.4 0Z",
  closed(polygon(6, 0)),
  "M-1-.35H1V.35H-1Z",
];

export const KINDS = SHAPES.length;

/** A class's mark at a point; beyond the tenth class all look alike. */
export function mark(label, x, y, size) {
  const kind = label < KINDS ? label : "other";
  return svg("path", {
    d: SHAPES[label < KINDS ? label : 0],
    class: `mark mark-${kind}`,
    transform: `translate(${x} ${y}) scale(${size})`,
  });
}
