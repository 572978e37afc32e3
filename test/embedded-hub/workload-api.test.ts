import { createHmac } from "node:crypto";
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { closeSdk, moduleFromEnvironment, within } from "./clients.ts";

let hub: EmbeddedHub;

beforeAll(async () => {
  hub = await startEmbeddedHub({ modules: ["a", "b"], workloadPort: 0 });
});

afterAll(async () => {
  await hub.stop();
});

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly text: string;
}

function call(
  moduleId: string,
  method: string,
  path: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const socketPath = hub.environment(moduleId).IOTEDGE_WORKLOADURI?.replace("unix://", "");
  return within(
    new Promise((resolve, reject) => {
      const request = httpRequest({ socketPath, method, path, headers }, (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () =>
          resolve({ status: response.statusCode, type: response.headers["content-type"], text }),
        );
      });
      request.on("error", reject);
      request.end(body);
    }),
    `${method} ${path}`,
  );
}

function signPath(moduleId: string): string {
  const generation = hub.environment("a").IOTEDGE_MODULEGENERATIONID;
  return `/modules/${moduleId}/genid/${generation}/sign?api-version=2018-06-28`;
}

const data = "hub%2Fdevices%2Fedge\n1700000000";
const signBody = JSON.stringify({
  keyId: "primary",
  algo: "HMACSHA256",
  data: Buffer.from(data).toString("base64"),
});

describe("the workload API on a module's socket", () => {
  test("the trust bundle is the CA, as JSON", async () => {
    const { status, type, text } = await call("a", "GET", "/trust-bundle?api-version=2018-06-28");
    expect([status, type]).toEqual([200, "application/json"]);
    expect(JSON.parse(text)).toEqual({ certificate: hub.caPem });
  });

  test("the manifest trust bundle exists since 2020-07-07", async () => {
    const { text } = await call("a", "GET", "/manifest-trust-bundle?api-version=2020-07-07");
    expect(JSON.parse(text)).toEqual({ certificate: "" });
    expect((await call("a", "GET", "/manifest-trust-bundle?api-version=2018-06-28")).status).toBe(404);
  });

  test("sign gives the HMAC with the module's key; the content type may be missing", async () => {
    const key = /SharedAccessKey=([^;]+)/.exec(hub.connectionString("edge", "a"))?.[1] ?? "";
    const digest = createHmac("sha256", Buffer.from(key, "base64")).update(data).digest("base64");
    for (const headers of [{}, { "content-type": "application/json; charset=utf-8" }]) {
      const { status, type, text } = await call("a", "POST", signPath("a"), signBody, headers);
      expect([status, type]).toEqual([200, "application/json; charset=utf-8"]);
      expect(JSON.parse(text)).toEqual({ digest });
    }
  });

  test.each<[string, () => Promise<Answer>, number]>([
    ["no api-version", () => call("a", "GET", "/trust-bundle"), 400],
    ["an unknown api-version", () => call("a", "GET", "/trust-bundle?api-version=2017-01-01"), 400],
    ["an unknown path", () => call("a", "GET", "/nothing?api-version=2018-06-28"), 404],
    ["a wrong method", () => call("a", "GET", signPath("a")), 400],
    ["another module's socket", () => call("b", "POST", signPath("a"), signBody), 403],
    ["a body that is not JSON", () => call("a", "POST", signPath("a"), "{"), 400],
    ["a body of another shape", () => call("a", "POST", signPath("a"), '{"keyId":"primary"}'), 422],
    [
      "another content type",
      () => call("a", "POST", signPath("a"), signBody, { "content-type": "text/plain" }),
      415,
    ],
    ["a body above the bound", () => call("a", "POST", signPath("a"), "x".repeat(70_000)), 413],
  ])("%s", async (_name, request, status) => {
    const answer = await request();
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toEqual({ message: expect.any(String) });
  });

  test("a module created later has a socket, a deleted one has none", async () => {
    hub.createModule("edge", "later");
    const { IOTEDGE_WORKLOADURI } = hub.environment("later");
    expect(IOTEDGE_WORKLOADURI).not.toBe(hub.environment("a").IOTEDGE_WORKLOADURI);
    expect((await call("later", "POST", signPath("later"), signBody)).status).toBe(200);
    hub.deleteIdentity("edge", "later");
    expect(() => hub.environment("later")).toThrow("not registered");
  });
});

test("the shared port serves every module, and the SDK", async () => {
  const uri = `http://127.0.0.1:${hub.workloadPort}`;
  const client = await moduleFromEnvironment({ ...hub.environment("b"), IOTEDGE_WORKLOADURI: uri });
  await within(client.open(), "open");
  expect(hub.isConnected("edge", "b")).toBe(true);
  expect(await closeSdk(client)).toBe("settled");
});
