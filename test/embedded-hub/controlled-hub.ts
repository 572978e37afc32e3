import { afterAll } from "vitest";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { within } from "./clients.ts";

/** A hub that stands until the tests of the file are over, and requests to its control API. */
export async function controlledHub() {
  const hub = await startEmbeddedHub({ modules: ["gateway"], mode: "hub" });
  afterAll(() => hub.stop());

  async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await within(
      fetch(`${hub.controlUrl}${path}`, {
        method,
        headers,
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
      `${method} ${path}`,
    );
    const text = await response.text();
    return {
      status: response.status,
      body: text === "" ? undefined : JSON.parse(text),
      headers: response.headers,
    };
  }

  return { hub, call };
}
