/** Which pages of other origins may call the local API from a browser. */
import { beforeEach, expect, test } from "vitest";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { expectNothingTaken, reading, startGateway } from "./api-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const page = "https://dashboard.example:8443";
const other = "https://evil.example";
const allowed = { api: { cors: { origins: [page] } } };

/** What a browser asks before a page calls with a token. */
async function preflight(url: string, origin: string, path = "/api/readings", more: object = {}) {
  const response = await fetch(`${url}${path}`, {
    method: "OPTIONS",
    headers: {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,idempotency-key",
      ...more,
    },
  });
  return { status: response.status, header: (name: string) => response.headers.get(name) };
}

test("a page that is named may ask without the token, and call with it", async () => {
  const { url, post, get, ingested } = await startGateway(folder, allowed);
  const asked = await preflight(url(), page);
  expect(asked.status).toBe(204);
  expect(asked.header("access-control-allow-origin")).toBe(page);
  expect(asked.header("access-control-allow-methods")).toBe("POST");
  expect(asked.header("access-control-allow-headers")).toBe(
    "authorization, content-type, idempotency-key, tensor-shape, tensor-type, inference-header-content-length",
  );
  expect(asked.header("vary")).toBe("origin");
  expect(asked.header("access-control-allow-private-network")).toBeNull();
  expect((await preflight(url(), page, "/api/status")).header("access-control-allow-methods")).toBe("GET");

  const stored = await post(reading(), { origin: page });
  expect(stored.status).toBe(200);
  expect(stored.headers.get("access-control-allow-origin")).toBe(page);
  expect(stored.headers.get("access-control-expose-headers")).toBe(
    "retry-after, inference-header-content-length",
  );
  expect(ingested()).toBe(1);
  // Or the page could not read why.
  const refused = await get("/api/status", { origin: page, authorization: "Bearer wrong" });
  expect(refused.status).toBe(401);
  expect(refused.headers.get("access-control-allow-origin")).toBe(page);
});

test("a browser that asks for a private address is told that it may", async () => {
  const { url } = await startGateway(folder, allowed);
  const asked = await preflight(url(), page, "/api/readings", {
    "access-control-request-private-network": "true",
  });
  expect(asked.header("access-control-allow-private-network")).toBe("true");
});

test("another page may not, and what answers does not name it", async () => {
  const { url, get, token, gateway } = await startGateway(folder, allowed);
  for (const origin of [other, "null", `${page}.evil.example`, "https://dashboard.example"]) {
    const asked = await preflight(url(), origin);
    expect([origin, asked.status]).toEqual([origin, 401]);
    expect(asked.header("access-control-allow-origin")).toBeNull();
  }
  const told = await get("/api/status", { origin: other, authorization: `Bearer ${token()}` });
  expect(told.headers.get("access-control-allow-origin")).toBeNull();
  expect(told.headers.get("vary")).toBe("origin");
  expectNothingTaken(gateway);
});

test("without origins in the configuration no page may, and with * any", async () => {
  const closed = await startGateway(folder);
  expect((await preflight(closed.url(), page)).status).toBe(401);
  const told = await closed.get("/api/status", { origin: page });
  expect(told.headers.get("access-control-allow-origin")).toBeNull();
  await closed.stop();
  const open = await startGateway(folder, { api: { cors: { origins: ["*"] } } });
  expect((await preflight(open.url(), other)).header("access-control-allow-origin")).toBe(other);
});

test("an OPTIONS without a question is a request like others", async () => {
  const { url, token } = await startGateway(folder, allowed);
  const headers = { origin: page, authorization: `Bearer ${token()}` };
  const response = await fetch(`${url()}/api/readings`, { method: "OPTIONS", headers });
  expect(response.status).toBe(405);
});
