/** The watch against real HTTP servers, good and bad. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { readSample, UpstreamWatch } from "../../src/hub/upstream-watch.ts";
import { HoldBack } from "../../src/publish/hold-back.ts";
import { recordingLog } from "../core/recording-log.ts";
import { until } from "../support/until.ts";

let server: Server | undefined;
let watch: UpstreamWatch | undefined;

afterEach(async () => {
  await watch?.stop();
  server?.closeAllConnections();
  server?.close();
});

async function serve(listener: RequestListener): Promise<string> {
  server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`;
}

function watching(url: string) {
  const settings = { state: "on", url, intervalMs: 20 } as const;
  const log = recordingLog();
  let wakes = 0;
  const made = new UpstreamWatch(
    { holdBack: (of) => new HoldBack(of), clock: systemClock, log, wake: () => wakes++ },
    settings,
  );
  made.start();
  watch = made;
  return { watch: made, log, wakes: () => wakes };
}

const base = 'iothub="h.azure-devices.net",edge_device="e",instance_number="b0e77009"';
const healthy = `# TYPE edgehub_queue_length gauge\nedgehub_offline_duration_seconds_count{${base},id="e/$edgeHub",ms_telemetry="True"} 1\n`;
const offline = `${healthy}edgehub_offline_count_total{${base},id="e/$edgeHub",ms_telemetry="True"} 1\nedgehub_queue_length{${base},endpoint="iothub",priority="2000000000",ms_telemetry="True"} 2\n`;

test("the lines that matter are read from what a real edge hub serves", () => {
  const text = [
    "# HELP edgehub_messages_sent_total Messages sent from edge hub",
    "# TYPE edgehub_messages_sent_total counter",
    `edgehub_messages_sent_total{${base},from="e/a",to="upstream",from_route_output="o",to_route_input="",priority="0",ms_telemetry="True"} 1E+06`,
    `edgehub_messages_sent_total{${base},from="e/a",to="e/b",from_route_output="o",to_route_input="i",priority="0",ms_telemetry="True"} 7`,
    `edgehub_queue_length{${base},endpoint="iothub",priority="2000000000",ms_telemetry="True"} 3`,
    `edgehub_queue_length{${base},endpoint="iothub",priority="0",ms_telemetry="True"} 2`,
    `edgehub_queue_length{${base},endpoint="e/logmodule/input1",priority="2000000000",ms_telemetry="True"} 900`,
    `edgehub_queue_length{${base},endpoint="x\\",endpoint=\\"iothub\\"}",priority="0"} 900`,
    `edgehub_offline_duration_seconds_sum{${base},id="e/$edgeHub"} 61.5`,
    `edgehub_offline_duration_seconds_count{${base},id="e/$edgeHub"} 2`,
    `edgehub_offline_duration_seconds{${base},id="e/$edgeHub",quantile="0.1"} NaN`,
    `edgehub_offline_count_total{${base},id="e/$edgeHub"} 1`,
    `edgehub_messages_dropped_total{${base},from="e/a",from_route_output="o",reason="ttl_expiry",ms_telemetry="True"} 4`,
    `edgehub_messages_dropped_total{${base},from="e/a",from_route_output="o",reason="no_route",ms_telemetry="True"} 5`,
    "",
  ].join("\n");
  expect(readSample(text)).toEqual({
    instance: "b0e77009",
    queueLength: 5,
    offlineCount: 1,
    offlineEnds: 2,
    expired: 4,
    sent: 1e6,
  });
});

test("an edge hub that has counted nothing yet is one, and other metrics are none", () => {
  expect(readSample("# TYPE edgehub_queue_length gauge\n")).toMatchObject({
    queueLength: 0,
    offlineEnds: undefined,
  });
  for (const other of ["", "headgate_up 1\n", "<html>edgehub_queue_length</html>", "\0\xff"])
    expect(readSample(other)).toBeUndefined();
});

test("it holds while edge hub is offline and lets go when it is back, one log line each", async () => {
  let text = healthy;
  const url = await serve((_, response) => response.end(text));
  const { watch, log, wakes } = watching(url);
  await until("online", () => watch.status?.state === "online");
  watch.handedOver();
  text = offline;
  await until("offline", () => watch.status?.state === "offline");
  expect(watch.status).toMatchObject({ holding: true, queueLength: 2, reason: undefined });
  expect(watch.mayHandOver).toBe(false);
  const before = wakes();
  await until("time is held", () => (watch.status?.heldMs ?? 0) > 50);
  expect(wakes()).toBe(before);
  text = offline.replace("} 1\n", "} 2\n");
  await until("online again", () => watch.status?.state === "online");
  expect(watch.mayHandOver).toBe(true);
  expect(wakes()).toBeGreaterThan(before);
  expect(log.lines.map(({ level, object }) => [level, (object as { upstream: string }).upstream])).toEqual([
    ["info", "online"],
    ["warn", "offline"],
    ["info", "online"],
  ]);
});

const endless = "a".repeat(65_536);
test.each<[string, RequestListener]>([
  ["garbage", (_, response) => response.end(Buffer.from([0, 255, 10, 13, 0]))],
  ["not found", (_, response) => response.writeHead(404).end(offline)],
  [
    "cut off",
    (_, response) =>
      response.writeHead(200, { "content-length": "9999" }).write(offline, () => response.destroy()),
  ],
  [
    "endless",
    (_, response) => {
      response.write(offline);
      const more = () => {
        while (!response.destroyed && response.write(endless));
      };
      response.on("drain", more);
      more();
    },
  ],
])("metrics that are %s are none: unknown, nothing is held, and it is told once", async (_name, bad) => {
  let looks = 0;
  const url = await serve((request, response) => {
    looks++;
    bad(request, response);
  });
  const { watch, log } = watching(url);
  await until("it has looked a few times", () => looks >= 4);
  expect(watch.status).toMatchObject({ state: "unknown", holding: false, heldMs: 0 });
  expect(watch.status?.reason).toContain(url.slice(7, 16));
  expect(watch.mayHandOver).toBe(true);
  expect(log.lines).toHaveLength(1);
});

test("metrics that go away while it holds let go soon; those that come back are found", async () => {
  let isThere = true;
  const url = await serve((_, response) => {
    if (isThere) response.end(offline);
    else response.destroy();
  });
  const { watch } = watching(url);
  watch.handedOver();
  await until("offline", () => watch.status?.state === "offline");
  expect(watch.mayHandOver).toBe(false);
  isThere = false;
  await until("unknown", () => watch.status?.state === "unknown");
  expect(watch.mayHandOver).toBe(true);
  isThere = true;
  await until("offline again", () => watch.status?.state === "offline");
});

test("an answer that never comes does not keep a stop waiting", async () => {
  let looks = 0;
  const url = await serve(() => looks++);
  const { watch } = watching(url);
  await until("it looks", () => looks === 1);
  await watch.stop();
  expect(watch.status?.state).toBe("unknown");
});

test("a name that does not resolve is told once", async () => {
  const { watch, log } = watching("http://edgehub.invalid:9600/metrics");
  await until("it has failed", () => watch.status?.reason !== undefined);
  expect(watch.status).toMatchObject({ state: "unknown", holding: false });
  expect(log.lines).toHaveLength(1);
});

test("nobody asks where no edge hub stands between", async () => {
  const silent = new UpstreamWatch(
    {
      holdBack: (of) => new HoldBack(of),
      clock: systemClock,
      log: recordingLog(),
      wake: () => undefined,
    },
    undefined,
  );
  silent.start();
  expect([silent.status, silent.mayHandOver]).toEqual([undefined, true]);
  await silent.stop();
});
