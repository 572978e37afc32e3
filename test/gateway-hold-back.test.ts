/** The whole daemon behind an embedded hub whose cloud goes away: what is not handed over waits in the store. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { startGateway } from "./api/api-gateway.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let server: Server | undefined;

beforeEach(async () => {
  // First of what is seen to when the test is over, so it goes last: gateways stop before it.
  folder = temporaryFolder();
  hub = await startEmbeddedHub({ metricsPort: 0 });
});

afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await hub.stop();
});

async function start(url: string) {
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const running = await startGateway(
    folder,
    {
      windows: { second: { sizeMs: 1_000 } },
      publish: { maxDelayMs: 0 },
      report: { minSpacingMs: 100 },
      hub: { type: "edge", upstream: { url, intervalMs: 100 } },
    },
    environment,
  );
  let deviceMs = Date.now() - 10_000_000;
  return {
    ...running,
    /** Each reading closes the window of the one before, and becomes a message. */
    feed: async (count: number) => {
      for (let i = 0; i < count; i++) {
        deviceMs += 1_000;
        expect((await running.post({ id: "d1", t: deviceMs, temperature: 20 })).status).toBe(200);
      }
    },
    upstream: () => running.gateway.status.upstream,
    held: () => running.gateway.status.store.outbox.entries,
  };
}

const inHub = () => (hub.status().upstream as { stored: number }).stored;
const reported = () => hub.getTwin("edge", "gateway").reported as Record<string, unknown>;
/** Readings in what reached the cloud; windows that came twice count once. */
function arrived(): number {
  const counts = new Map<string, number>();
  for (const { body } of hub.upstreamMessages)
    for (const entry of JSON.parse(body.toString("utf8")) as { id: string; count: number }[])
      counts.set(entry.id, entry.count);
  return [...counts.values()].reduce((sum, count) => sum + count, 0);
}

test("without a way to the cloud the store grows instead of the hub's queue, and everything arrives when it is back", async () => {
  const box = await start(hub.metricsUrl ?? "");
  await until("the way is known", () => box.upstream()?.state === "online");
  await box.feed(5);
  await until("the first windows arrive", () => arrived() === 4);

  hub.setUpstream("off");
  await until("the outage is known", () => box.upstream()?.state === "offline");
  const before = inHub();
  await box.feed(40);
  await until("all are in the outbox", () => box.held() >= 38);
  expect(box.upstream()).toMatchObject({ state: "offline", holding: true });
  // At most a probe; and what waits in the hub then stands for further ones.
  expect(inHub() - before).toBeLessThanOrEqual(1);
  await until("the twin tells", () => reported().upstream === "offline");
  const { text } = await box.get("/metrics");
  expect(text).toContain('\nheadgate_upstream_state{state="offline"} 1\n');
  expect(Number(/^headgate_held_back_seconds_total (.*)$/m.exec(text)?.[1])).toBeGreaterThan(0);

  hub.setUpstream("on");
  await until("everything arrives", () => arrived() === 44);
  await until("the outbox is empty", () => box.held() === 0);
  expect(box.upstream()).toMatchObject({ state: "online", holding: false });
  await until("the twin tells", () => reported().upstream === "online");
});

test("an outage longer than the hub's time to live costs no more than what the hub already had", async () => {
  await hub.stop();
  hub = await startEmbeddedHub({ metricsPort: 0, timeToLiveSecs: 1 });
  const box = await start(hub.metricsUrl ?? "");
  await until("the way is known", () => box.upstream()?.state === "online");
  hub.setUpstream("off");
  await until("the outage is known", () => box.upstream()?.state === "offline");
  await box.feed(10);
  await until("all are in the outbox", () => box.held() >= 8);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  hub.setUpstream("on");
  await until("the outbox is empty", () => box.held() === 0);
  // The one message that may pass while others wait.
  const expired = hub.counter("upstreamDiscarded.expired");
  expect(expired).toBeLessThanOrEqual(1);
  expect(hub.upstreamMessages.length + expired).toBe(hub.messages.length);
  expect(hub.messages.length).toBeGreaterThan(1);
});

test("a gateway that is stopped while it holds does not wait for the cloud, and goes on at the next start", async () => {
  hub.setUpstream("off");
  const first = await start(hub.metricsUrl ?? "");
  await until("the outage is known", () => first.upstream()?.state === "offline");
  await first.feed(10);
  await until("all are in the outbox", () => first.held() >= 8);
  await first.stop();
  const second = await start(hub.metricsUrl ?? "");
  await until("the outage is known", () => second.upstream()?.state === "offline");
  expect(second.held()).toBeGreaterThanOrEqual(8);
  hub.setUpstream("on");
  await until("everything arrives", () => arrived() === 9);
});

const endless = "edgehub_".repeat(8_192);
test.each<[string, RequestListener]>([
  ["gone", (request) => request.destroy()],
  ["garbage", (_, response) => response.end("garbage")],
  ["slow", () => undefined],
  [
    "huge",
    (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(endless));
      };
      response.on("drain", more);
      more();
    },
  ],
])("with metrics that are %s upstream is unknown, and messages flow", async (_name, bad) => {
  server = createServer(bad).listen(0, "127.0.0.1");
  await once(server, "listening");
  hub.setUpstream("off");
  const box = await start(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
  await box.feed(5);
  await until("the hub has them", () => hub.messages.length >= 1 && box.held() === 0);
  expect(box.upstream()).toMatchObject({ state: "unknown", holding: false });
  await until("the twin tells", () => reported().upstream === "unknown");
});
