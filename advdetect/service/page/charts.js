// Two small charts: a line over time, and a histogram against what is expected.

import { svg } from "./dom.js";

/** Values from old to new, the newest at the right of `room` places; the title is in words. */
export function line(values, room, title) {
  const most = Math.max(...values, 1e-9);
  const at = (i) => 100 - (100 * (values.length - 1 - i)) / (room - 1);
  const path = values.map((value, i) => `${at(i)},${38 - (34 * value) / most}`).join(" ");
  return svg(
    "svg",
    { class: "chart", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": title, width: "100%", height: 110 },
    svg("polygon", { class: "area", points: `${at(0)},40 ${path} 100,40` }),
    svg("polyline", { class: "stroke", points: path }),
  );
}

/** Ten bars for p-values from 0 to 1, and the line that clean traffic would follow. */
export function histogram(bins, title) {
  const bars = Array(10).fill(0);
  for (const { upto, count } of bins) bars[Math.min(9, Math.ceil(upto * 10 - 1e-9) - 1)] += count;
  const total = bars.reduce((sum, n) => sum + n, 0);
  const most = Math.max(...bars.map((n) => n / (total || 1)), 0.2);
  const height = (share) => (100 * share) / most;
  const rects = bars.map((n, i) => {
    const share = total ? n / total : 0;
    return svg("rect", {
      class: i === 0 ? "low" : "bar",
      x: `${10 * i + 0.6}%`, y: `${100 - height(share)}%`, width: "8.8%", height: `${height(share)}%`, rx: 2,
    });
  });
  const level = `${100 - height(0.1)}%`;
  return svg(
    "svg",
    { class: "chart", role: "img", "aria-label": title, width: "100%", height: 110 },
    ...rects,
    svg("line", { class: "expected", x1: "0%", x2: "100%", y1: level, y2: level }),
  );
}
