import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { Gateway } from "../../src/gateway.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { recordingLog } from "../core/recording-log.ts";

/** A source of JSON with times of its own, which does not end windows while the test runs. */
export const yard: JsonObject = {
  type: "http",
  decode: { format: "json", time: { field: "t" } },
  device: { field: "id" },
  idleMs: 600_000,
};

/** What a test configures besides; sections replace each other. */
export interface Sections {
  readonly [section: string]: JsonObject;
}

/** A whole gateway whose hub is away, with its API on a free port; stopped in order when the test is over. */
export async function startGateway(
  folder: string,
  sections: Sections = {},
  env: Record<string, string> = {},
) {
  const config = {
    gateway: { name: "box" },
    sources: { yard },
    windows: { hour: { sizeMs: 3_600_000 } },
    // Nothing listens there: what is ingested stays held.
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
    ...sections,
    api: { port: 0, ...sections.api },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), minCommitMs: 0, ...sections.store },
  };
  const configFile = join(folder, "headgate.json");
  writeFileSync(configFile, JSON.stringify(config));
  const log = recordingLog();
  const fatal: unknown[] = [];
  const gateway = await Gateway.start({
    configFile,
    environment: env,
    clock: systemClock,
    log,
    onFatal: (error) => fatal.push(error),
  });
  let running = true;
  const stop = async () => {
    if (!running) return;
    running = false;
    expect(imbalances(await gateway.audit())).toEqual([]);
    await gateway.stop(AbortSignal.timeout(8_000));
    expect(fatal).toEqual([]);
  };
  onTestFinished(stop);
  const url = () => gateway.status.api.url ?? "";
  const token = () => readFileSync(join(folder, "store", "api-token"), "utf8").trim();
  return {
    gateway,
    log,
    stop,
    url,
    token,
    ingested: (source = "yard") => gateway.status.store.books[source]?.ingested ?? 0,
    get: (path: string, headers: Record<string, string> = { authorization: `Bearer ${token()}` }) =>
      ask(`${url()}${path}`, { headers }),
    post: (
      body: string | Uint8Array<ArrayBuffer> | object,
      headers: Record<string, string> = {},
      query = "",
    ) =>
      ask(`${url()}/api/readings${query}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${token()}`,
          "content-type": "application/json",
          ...headers,
        },
        body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
      }),
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, when it is JSON. */
  readonly json: { readonly [key: string]: unknown } | undefined;
}

async function ask(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  };
}

/** A reading of now, in the device's own time. */
export const reading = (more: object = {}) => ({ id: "d1", t: Date.now(), temperature: 21.5, ...more });
export const lines = (...readings: object[]) => readings.map((r) => `${JSON.stringify(r)}\n`).join("");
export const ndjson = { "content-type": "application/x-ndjson" };

/** Nothing of a refused request is taken: neither on its way nor counted as a frame. */
export function expectNothingTaken(gateway: Gateway): void {
  expect(gateway.status.intake.queuedBytes).toBe(0);
  expect(gateway.status.store.books).toEqual({});
}
