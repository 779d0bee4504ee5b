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

/** Post a picture; somebody else's attack is waited for a while. */
async function post(path, blob) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask(path, { method: "POST", ...asBody(blob) });
    } catch (error) {
      if (error.reason !== "busy" || attempt === 6) throw error;
      await pause(250 * attempt);
    }
  }
}

export const getMap = () => ask("v1/landmarks");
export const getSamples = () => ask("v1/samples");
export const getTraffic = () => ask("v1/traffic");
export const explain = (blob) => post("v1/explain?resize=true", blob);
export const attack = (blob, name, eps) =>
  post(`v1/attack?resize=true&attack=${name}&eps=${eps}`, blob);
