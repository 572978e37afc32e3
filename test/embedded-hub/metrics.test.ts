/** Edge hub's metrics: names, labels and what moves them. */
import type { MqttClient } from "mqtt";
import { afterEach, expect, test } from "vitest";
import {
  type EmbeddedHub,
  type EmbeddedHubOptions,
  startEmbeddedHub,
} from "../../src/embedded-hub/embedded-hub.ts";
import { connectRaw, RawModule, within } from "./clients.ts";

let hub: EmbeddedHub;
let client: MqttClient;

afterEach(async () => {
  client?.end(true);
  await hub.stop();
});

async function start(options: EmbeddedHubOptions = {}): Promise<void> {
  hub = await startEmbeddedHub({ metricsPort: 0, ...options });
  client = await connectRaw(hub, "edge", "gateway");
}

async function send(...bodies: string[]): Promise<void> {
  const topic = "devices/edge/modules/gateway/messages/events/%24.on=readings";
  for (const body of bodies) await within(client.publishAsync(topic, body, { qos: 1 }), `PUBACK of ${body}`);
}

/** The samples without the labels that all have: by the name and the labels of its own. */
async function samples(): Promise<Record<string, number>> {
  const response = await within(fetch(hub.metricsUrl ?? ""), "metrics");
  expect(response.headers.get("content-type")).toContain("version=0.0.4");
  const lines = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => {
      const [, name, labels = "", value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
      expect(labels).toMatch(
        /^iothub="headgate\.azure-devices\.local",edge_device="edge",instance_number="[-0-9a-f]{36}",.*ms_telemetry="True"$/,
      );
      const own = labels.split(",").slice(3, -1).join(",");
      return [`${name} ${own}`.trim(), Number(value)];
    }),
  );
}

const sent =
  'edgehub_messages_sent_total from="edge/gateway",to="upstream",from_route_output="readings",to_route_input="",priority="2000000000"';
const queue = 'edgehub_queue_length endpoint="iothub",priority="2000000000"';
const offline = 'edgehub_offline_count_total id="edge/$edgeHub"';
const offlineEnds = 'edgehub_offline_duration_seconds_count id="edge/$edgeHub"';

test("messages received and sent, twins and clients are counted", async () => {
  await start();
  const module = new RawModule(client);
  await client.subscribeAsync("$iothub/twin/res/#");
  await module.getTwin();
  await module.report({ a: 1 });
  await send("1", "2");
  expect(await samples()).toMatchObject({
    'edgehub_messages_received_total route_output="readings",id="edge/gateway"': 2,
    [sent]: 2,
    'edgehub_gettwin_total source="upstream",id="edge/gateway"': 1,
    'edgehub_reported_properties_total target="upstream",id="edge/gateway"': 1,
    edgehub_connected_clients: 1,
  });
});

test("without upstream the queue grows, and an end of it counts as the end of a time offline", async () => {
  await start();
  const before = await samples();
  expect(before[offline]).toBeUndefined();
  expect(before[offlineEnds]).toBe(1);
  hub.setUpstream("off");
  hub.setUpstream("off");
  await send("1", "2", "3");
  expect(await samples()).toMatchObject({ [queue]: 3, [offline]: 1, [offlineEnds]: 1 });
  hub.setUpstream("on");
  expect(await samples()).toMatchObject({ [queue]: 0, [sent]: 3, [offline]: 1, [offlineEnds]: 2 });
});

test("what expires or has no route is dropped, with the reason", async () => {
  await start({
    timeToLiveSecs: 0.001,
    routes: {
      some: "FROM /messages/* WHERE $body.keep = true INTO $upstream",
      all: "FROM /messages/modules/gateway/outputs/readings INTO $upstream",
    },
  });
  hub.setUpstream("off");
  await send("1");
  await new Promise((resolve) => setTimeout(resolve, 5));
  hub.setUpstream("on");
  await within(
    client.publishAsync("devices/edge/modules/gateway/messages/events/%24.on=other", "2", { qos: 1 }),
    "PUBACK",
  );
  expect(await samples()).toMatchObject({
    'edgehub_messages_dropped_total reason="ttl_expiry",from="edge/gateway",from_route_output="readings"': 1,
    'edgehub_messages_dropped_total reason="no_route",from="edge/gateway",from_route_output="other"': 1,
  });
});

test("without a port nothing is served; other paths are not found", async () => {
  await start();
  const other = await within(fetch((hub.metricsUrl ?? "").replace("/metrics", "/")), "another path");
  expect(other.status).toBe(404);
  const silent = await startEmbeddedHub();
  expect(silent.metricsUrl).toBeUndefined();
  await silent.stop();
});
