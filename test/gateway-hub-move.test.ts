/** The whole daemon between two embedded hubs: it moves by twin and by file, and comes back from a hub that is none. */
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { startGateway } from "./api/api-gateway.ts";
import { startProcess } from "./cli/processes.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { TestBroker } from "./support/test-broker.ts";
import { until } from "./support/until.ts";

let folder: string;
let old: EmbeddedHub;
let other: EmbeddedHub;
/** The other hub as a twin may name it. */
let there: { type: string; connectionString: object; caFile: string; trialMs: number };
let deviceMs: number;

beforeEach(async () => {
  // First of what is seen to when the test is over, so it goes last: gateways stop before it.
  folder = temporaryFolder();
  [old, other] = await Promise.all([startEmbeddedHub({ metricsPort: 0 }), startEmbeddedHub()]);
  const secrets = join(folder, "store", "secrets");
  mkdirSync(secrets, { recursive: true });
  const caFile = join(secrets, "other.pem");
  copyFileSync(other.caFile, caFile);
  there = { type: "iothub", connectionString: { env: "HEADGATE_SECRET_OTHER" }, caFile, trialMs: 20_000 };
  deviceMs = Math.floor(Date.now() / 1_000) * 1_000 - 10_000_000;
});

afterEach(async () => {
  await Promise.all([old.stop(), other.stop()]);
});

const home = () => ({
  type: "edge",
  upstream: { url: old.metricsUrl ?? "", intervalMs: 100 },
  trialMs: 20_000,
});
const sections = {
  windows: { second: { sizeMs: 1_000 } },
  publish: { maxDelayMs: 0, blockBytes: 512 },
  report: { minSpacingMs: 100, intervalMs: 1_000 },
};

function environment(connectionString = other.connectionString("edge", "gateway")): Record<string, string> {
  const all = { ...old.environment("gateway"), HEADGATE_SECRET_OTHER: connectionString };
  Object.assign(process.env, all);
  return all;
}

async function start(hub: Record<string, unknown> = home(), env = environment(), more = {}) {
  const box = await startGateway(folder, { ...sections, hub: hub as never, ...more }, env);
  return {
    ...box,
    /** Each reading closes the window of the one before. */
    feed: async (count: number) => {
      for (let i = 0; i < count; i++) {
        deviceMs += 1_000;
        expect((await box.post({ id: "d1", t: deviceMs, temperature: 20 })).status).toBe(200);
      }
    },
    hub: () => box.gateway.status.hub,
    outbox: () => box.gateway.status.store.outbox,
    file: (hub: object) => {
      const path = join(folder, "headgate.json");
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), hub }));
      return box.gateway.reload();
    },
  };
}

const keys = (hub: EmbeddedHub): string[] =>
  hub.messages.flatMap((message) =>
    (JSON.parse(message.body.toString("utf8")) as { id: string; revision: number }[]).map(
      ({ id, revision }) => `${id}/${revision}`,
    ),
  );
const reported = (hub: EmbeddedHub) =>
  hub.getTwin("edge", "gateway").reported as {
    lastDesiredVersion?: number;
    lastDesiredStatus?: { code: number; path: string; description: string };
  };
const answered = (hub: EmbeddedHub, version: number) => () => reported(hub).lastDesiredVersion === version;
const desire = (hub: EmbeddedHub, patch: object) => hub.updateDesired("edge", "gateway", patch);
const isAt = (box: { hub: () => { type: string; state: string } }, type: string) => () =>
  box.hub().type === type && box.hub().state === "connected";

test("by twin: a full outbox moves over, each entry arrives once at one of the two hubs, and a restart stays", async () => {
  const offline =
    'edgehub_offline_duration_seconds_count{instance_number="1"} 1\n' +
    'edgehub_offline_count_total{instance_number="1"} 1\n' +
    'edgehub_queue_length{instance_number="1",endpoint="iothub"} 2\n';
  const metrics = createServer((_, response) => response.end(offline)).listen(0, "127.0.0.1");
  onTestFinished(() => void metrics.close());
  await once(metrics, "listening");
  const url = `http://127.0.0.1:${(metrics.address() as AddressInfo).port}/metrics`;
  const box = await start({ ...home(), upstream: { url, intervalMs: 100 } });
  await until("the first twin is answered", answered(old, 1));
  await until("messages are held back", () => box.gateway.status.upstream?.holding === true);
  await box.feed(40);
  await until("they wait", () => box.outbox().entries > 20);
  desire(old, { hub: there });
  await until("the move is in force", isAt(box, "iothub"));
  await box.feed(5);
  await until("all is sent", () => keys(old).length + keys(other).length >= 44 && box.outbox().entries === 0);
  const all = [...keys(old), ...keys(other)];
  expect(new Set(all).size).toBe(44);
  expect(all).toHaveLength(44);
  expect(keys(other).length).toBeGreaterThan(20);
  expect(box.gateway.status.upstream).toBeUndefined();
  await until("the new hub's twin is answered", () => reported(other).lastDesiredStatus?.code === 200);
  expect(reported(old).lastDesiredVersion).toBe(1);
  // What the twin of the hub before configured stays in force as long as nobody has written to the new one.
  expect(box.gateway.status.sources).toHaveProperty("yard");
  await box.stop();
  const again = await start({ ...home(), upstream: { url, intervalMs: 100 } });
  await until("it is there again", isAt(again, "iothub"));
  await until("it reads the twin there", answered(other, 1));
  expect(again.log.lines.filter(({ message }) => message.includes("on trial"))).toEqual([]);
});

test("what the twin said stays while the new hub's twin is empty, and is replaced by the first word of that one", async () => {
  const box = await start();
  desire(old, { windows: { minute: { sizeMs: 60_000 } }, validate: { climate: null } });
  await until("it is answered", answered(old, 2));
  const before = box.gateway.status.configHash;
  desire(old, { hub: there });
  await until("the move is in force", isAt(box, "iothub"));
  await until("the empty twin is answered", () => reported(other).lastDesiredStatus?.code === 200);
  const moved = box.gateway.status.configHash;
  expect(moved).not.toBe(before);
  await box.stop();
  const again = await start();
  expect(again.gateway.status.configHash).toBe(moved);
  await until("it is there again", isAt(again, "iothub"));
  desire(other, { channels: { humidity: { unit: "%" } } });
  await until("the twin there is answered", answered(other, 2));
  expect(reported(other).lastDesiredStatus?.code).toBe(200);
  expect(again.gateway.status.configHash).not.toBe(moved);
  expect(again.hub().type).toBe("iothub");
});

test("a twin of the same version as the one that led there is another one, and is read", async () => {
  const box = await start();
  desire(other, { channels: { humidity: { unit: "per cent" } } });
  await until("the first twin is answered", answered(old, 1));
  desire(old, { hub: there });
  await until("the move is in force", isAt(box, "iothub"));
  const applied = () => box.log.lines.filter(({ message }) => message === "desired configuration applied");
  await until("the twin there is read", () => applied().length === 3);
  expect(applied().map(({ object }) => object)).toEqual([{ version: 1 }, { version: 2 }, { version: 2 }]);
});

const wrongKey = (text: string) => text.replace(/SharedAccessKey=[^;]+/, "SharedAccessKey=d3Jvbmc=");
test.each<[string, () => string, () => void]>([
  ["refuses the key", () => wrongKey(other.connectionString("edge", "gateway")), () => undefined],
  [
    "cannot be reached",
    () => other.connectionString("edge", "gateway").replace(/localhost:\d+/, "localhost:9"),
    () => undefined,
  ],
  [
    "confirms nothing",
    () => other.connectionString("edge", "gateway"),
    () => other.setFault("withholdPuback"),
  ],
])(
  "a hub that %s is left again with 400, and nothing is missing at the old one",
  async (_, secret, prepare) => {
    prepare();
    const box = await start({ ...home(), upstream: { state: "off" } }, environment(secret()));
    await until("the first twin is answered", answered(old, 1));
    const before = box.gateway.status.configHash;
    // Something must wait from the trial's first moment on: with nothing to send, an answered twin is proof enough.
    old.setFault("withholdPuback");
    await box.feed(10);
    await until("messages wait", () => box.outbox().entries > 0);
    desire(old, {
      hub: { ...there, trialMs: 2_000, sendTimeoutMs: 500 },
      windows: { second: { sizeMs: 7_000 } },
    });
    await until("the trial has begun", () =>
      box.log.lines.some(({ message }) => message.includes("on trial")),
    );
    old.clearFaults();
    await until("it is answered", answered(old, 2));
    expect(reported(old).lastDesiredStatus).toMatchObject({ code: 400, path: "hub" });
    expect(reported(other).lastDesiredVersion).toBeUndefined();
    expect(box.gateway.status.configHash).toBe(before);
    await until("all arrives at the old hub", () => new Set(keys(old)).size === 9);
    expect(box.gateway.status.publisher.rejected).toBe(0);
    // The refused version is not tried again with each connection.
    old.killConnections();
    await until("it is back", isAt(box, "edge"));
    expect(box.log.lines.filter(({ message }) => message.includes("on trial"))).toHaveLength(1);
  },
);

test("a broker that ends the connection at each message is left again, and the messages are not rejected", async () => {
  const broker = await new TestBroker().start();
  try {
    broker.aedes.authorizePublish = (_client, _packet, callback) => callback(new Error("no"));
    const box = await start({ ...home(), upstream: { state: "off" } });
    await until("the first twin is answered", answered(old, 1));
    // They wait from the trial's first moment on: fed during it, they might come too late on a busy machine.
    old.setFault("withholdPuback");
    await box.feed(3);
    await until("messages wait", () => box.outbox().entries > 0);
    desire(old, { hub: { type: "mqtt", url: broker.url, trialMs: 1_500 } });
    await until("the trial has begun", () =>
      box.log.lines.some(({ message }) => message.includes("on trial")),
    );
    old.clearFaults();
    await until("it is answered", answered(old, 2));
    expect(reported(old).lastDesiredStatus).toMatchObject({ code: 400, path: "hub" });
    await until("all arrives at the old hub", () => new Set(keys(old)).size === 2);
    expect(box.gateway.status.publisher.rejected).toBe(0);
  } finally {
    await broker.stop();
  }
});

test("a broker without a twin is taken with nothing to send, when its connection stands to the end", async () => {
  const broker = await new TestBroker().start();
  try {
    const box = await start();
    await until("the first twin is answered", answered(old, 1));
    desire(old, { hub: { type: "mqtt", url: broker.url, trialMs: 1_000 } });
    await until("it is taken", isAt(box, "mqtt"));
    expect(broker.clientIds).toEqual(["headgate-box"]);
  } finally {
    await broker.stop();
  }
});

test("`null` leads back to the file's hub, and that one's twin, which still names the other, does not lead there again", async () => {
  const box = await start();
  await until("the first twin is answered", answered(old, 1));
  desire(old, { hub: there });
  await until("the move is in force", isAt(box, "iothub"));
  await until("the twin there is read", () => reported(other).lastDesiredStatus?.code === 200);
  desire(other, { hub: null });
  await until("it is back", isAt(box, "edge"));
  await until("the old twin is answered", answered(old, 2));
  expect(reported(old).lastDesiredStatus).toMatchObject({ code: 400, path: "hub" });
  desire(old, { hub: null });
  await until("it is answered", answered(old, 3));
  expect(reported(old).lastDesiredStatus).toMatchObject({ code: 200 });
  desire(old, { hub: there });
  await until("written anew it is followed", isAt(box, "iothub"));
});

test("a section that the present hub's twin names and then drops leads back to the file's", async () => {
  const box = await start();
  await until("the first twin is answered", answered(old, 1));
  desire(old, { hub: { ...home(), closeTimeoutMs: 1_000 } });
  await until("it is answered", answered(old, 2));
  expect(reported(old).lastDesiredStatus).toMatchObject({ code: 200 });
  const changed = box.gateway.status.configHash;
  await old.stopListening();
  old.replaceDesired("edge", "gateway", { windows: { second: { sizeMs: 1_000 } } });
  await old.startListening();
  await until("what was dropped meanwhile is found", answered(old, 3));
  expect(reported(old).lastDesiredStatus).toMatchObject({ code: 200 });
  expect(box.gateway.status.configHash).not.toBe(changed);
});

test("SIGHUP's way: a changed file is tried in the same way, and an edited hub wins over the one a twin led to", async () => {
  const box = await start();
  await until("the first twin is answered", answered(old, 1));
  await box.file({ ...there, trialMs: 1_000, connectionString: { env: "HEADGATE_SECRET_NONE" } });
  expect(box.log.lines.at(-1)).toMatchObject({
    level: "error",
    object: { code: "HUB_TRIAL_FAILED", path: "hub" },
  });
  await until("it is back", isAt(box, "edge"));
  await box.file({ type: "nonsense" });
  expect(box.log.lines.at(-1)).toMatchObject({ level: "error", object: { code: "CONFIG_INVALID" } });
  await box.file(there);
  expect(box.log.lines.at(-1)).toMatchObject({ level: "info" });
  await until("the file's hub is in force", isAt(box, "iothub"));
  await until("the twin there is read", answered(other, 1));
  desire(other, { hub: home() });
  await until("a twin leads away", isAt(box, "edge"));
  await box.file({ ...there, closeTimeoutMs: 1_500 });
  await until("the edited file wins", isAt(box, "iothub"));
});

test("what only a start can change is told and not applied, and the rest is", async () => {
  const box = await start();
  await until("connected", isAt(box, "edge"));
  const path = join(folder, "headgate.json");
  const file = JSON.parse(readFileSync(path, "utf8"));
  const before = box.gateway.status.configHash;
  const changed = { api: { port: 1 }, store: { ...file.store, path: join(folder, "elsewhere") } };
  writeFileSync(path, JSON.stringify({ ...file, ...changed }));
  await box.gateway.reload();
  const warned = box.log.lines.filter(
    ({ level, message }) => level === "warn" && message.includes("restart"),
  );
  expect(warned.map(({ object }) => object)).toEqual([{ path: "store.path" }, { path: "api" }]);
  expect(box.gateway.status.configHash).toBe(before);
  writeFileSync(path, JSON.stringify({ ...file, ...changed, windows: { minute: { sizeMs: 60_000 } } }));
  await box.gateway.reload();
  expect(box.gateway.status.configHash).not.toBe(before);
});

test("a stop during a trial ends it, and the next start is at the old hub", async () => {
  const box = await start();
  await until("the first twin is answered", answered(old, 1));
  await other.stopListening();
  desire(old, { hub: there });
  await until("the trial has begun", () => box.log.lines.some(({ message }) => message.includes("on trial")));
  await box.stop();
  expect(box.gateway.status.hub.type).toBe("edge");
  const again = await start();
  expect(again.hub().type).toBe("edge");
});

test("a process that is killed during a trial starts at the old hub; SIGHUP reads the file again", async () => {
  const path = join(folder, "headgate.json");
  const write = (windows: object) =>
    writeFileSync(
      path,
      JSON.stringify({
        ...sections,
        windows,
        hub: home(),
        gateway: { name: "box" },
        api: { state: "off" },
        store: { path: join(folder, "store") },
      }),
    );
  write({ second: { sizeMs: 1_000 } });
  await other.stopListening();
  const env = environment();
  const first = startProcess(folder, ["run", "--config", path], env);
  await until("the first twin is answered", answered(old, 1));
  desire(old, { hub: there });
  await first.shows("another hub is on trial");
  first.stop("SIGKILL");
  await first.done;
  old.replaceDesired("edge", "gateway", {});
  const second = startProcess(folder, ["run", "--config", path], env);
  await until("the old hub's twin is answered", answered(old, 3));
  write({ second: { sizeMs: 2_000 } });
  second.stop("SIGHUP");
  await second.shows("is in force");
  writeFileSync(path, "{");
  second.stop("SIGHUP");
  await second.shows("is refused");
  second.stop("SIGTERM");
  expect((await second.done).code).toBe(0);
});
