import { type Refusal, refuse } from "./refusal.ts";

/** In a wrapper, because any value may have a member that is called as a refusal's. */
export function readJsonBody(body: Uint8Array): { readonly value: unknown } | Refusal {
  try {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("utf8");
    return { value: JSON.parse(text) };
  } catch (error) {
    // What stands there is the caller's, and too long for an answer.
    if (error instanceof SyntaxError) return refuse("malformed", "the body is not JSON");
    throw error;
  }
}
