// Numbers and reasons as people read them. Spaces before signs and units do not break: \u00a0.

/** A share: 0.0005 is "0.05 %", 0.382 "38 %". */
export function percent(share) {
  const hundred = 100 * share;
  if (hundred >= 99.95 && hundred < 100) return ">99.9\u00a0%";
  const digits = hundred >= 10 || hundred === 0 ? 0 : hundred >= 1 ? 1 : 2;
  return `${Number(hundred.toFixed(digits))}\u00a0%`;
}

/** How sure: never "100\u00a0%" unless it is. */
export function sureness(confidence) {
  return confidence > 0.999 ? "over 99.9\u00a0%" : `${(100 * confidence).toFixed(1)}\u00a0%`;
}

/** Pixels, as in 28 × 28. */
export const size = (width, height) => `${width}\u00a0×\u00a0${height}`;

export const count = (n) => n.toLocaleString("en");

/** A p-value in as many digits as say something. */
export const digits = (p) => (p < 0.1 ? `${Number(p.toPrecision(2))}` : p.toFixed(2));

export const levels = (eps) => (eps ? `${eps}/255` : "none");

export const className = (thing) => thing.class_name ?? `class ${thing.label}`;

const REASONS = {
  format: "This is no picture that the service reads: it takes PNG, JPEG, WebP and BMP.",
  damaged: "The picture is damaged or cut off. Choose another.",
  bytes: "The file is too large for this service.",
  "too-many-pixels": "The picture has more pixels than this service takes. Scale it down first.",
  slow: "The picture did not arrive in time. Try again.",
  busy: "The service is busy with others who look. Try again in a moment.",
  timeout: "The service took too long to answer. Try again in a moment.",
  stopping: "The service is stopping. Try again later.",
  gradient: "This model passes no gradient back to its input, so it cannot be attacked this way.",
  gone: "The service does not answer. Is it still running? This page tries on.",
  internal: "The service failed on this; its log says how.",
};

/** What went wrong, in a sentence. */
export function plain(error) {
  const known = REASONS[error.reason];
  if (known) return known;
  const said = error.message || "it did not say why";
  return `The service refused it: ${said}.`;
}
