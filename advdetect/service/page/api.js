// Asking the service. A token lives here, in memory alone.

let token = null;

export const setToken = (given) => { token = given; };

/** A refusal: `reason`, a word; `message`, a line; `status`, 0 where nobody answered. */
export class Refusal extends Error {
  constructor(status, reason, message) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  let response, answer;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    answer = await response.json();
  } catch {
    throw new Refusal(0, "gone", "no answer");
  }
  if (!response.ok) {
    const error = answer?.error ?? {};
    throw new Refusal(response.status, error.reason ?? "unknown", error.message ?? "");
  }
  return answer;
}

const PICTURES = ["image/png", "image/jpeg", "image/webp", "image/bmp"];

function asBody(blob) {
  if (PICTURES.includes(blob.type)) return { body: blob, headers: { "Content-Type": blob.type } };
  // Of a type that the browser does not know, or not of ours: the service looks at its bytes.
  const form = new FormData();
  form.append("picture", new Blob([blob], { type: "application/octet-stream" }), "picture");
  return { body: form };
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Ask again a few times where the answer is one of `reasons`: others are busy, or it takes long. */
async function patiently(reasons, path, options) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask(path, options);
    } catch (error) {
      if (!reasons.includes(error.reason) || attempt === 6) throw error;
      await pause(250 * attempt);
    }
  }
}

const post = (path, blob) => patiently(["busy"], path, { method: "POST", ...asBody(blob) });

export const getTraffic = () => ask("v1/traffic");
// Prepared at the first question, which on a large model may take longer than a request may.
export const getMap = () => patiently(["busy", "timeout"], "v1/landmarks");
export const getSamples = () => patiently(["busy", "timeout"], "v1/samples");
export const explain = (blob) => post("v1/explain?resize=true", blob);
export const attack = (blob, name, eps) =>
  post(`v1/attack?resize=true&attack=${name}&eps=${eps}`, blob);
