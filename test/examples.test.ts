/** Every example in `config/examples` runs: its device is a pseudo-terminal, a socket, a broker, a caller, a camera or a file, its hub is here; the rest is as written. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Aedes } from "aedes";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { messageBody } from "../src/outbox/entry-schema.ts";
import { startSentimentContainer } from "../src/simulated-devices/sentiment-container.ts";
import { recordingLog } from "./core/recording-log.ts";
import { type Example, exampleCases } from "./example-cases.ts";
import { modelFile } from "./infer/running-model.ts";
import { SerialBus } from "./support/modbus/libmodbus.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

const examples = fileURLToPath(new URL("../config/examples", import.meta.url));
let hub: EmbeddedHub;
let aedes: Aedes;
let broker: Server;
let brokerPort: number;
const atBroker: { topic: string; body: string }[] = [];
let folder: string;
let device: SerialDevice;
let bus: SerialBus | undefined;

beforeAll(async () => {
  hub = await startEmbeddedHub();
  aedes = new Aedes({
    authenticate: (_client, username, password, done) => {
      done(null, username === "headgate" && password?.toString() === "secret");
    },
  });
  await aedes.listen();
  aedes.on("publish", (packet, client) => {
    if (client) atBroker.push({ topic: packet.topic, body: packet.payload.toString() });
  });
  broker = createServer((socket) => aedes.handle(socket));
  await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
  const address = broker.address();
  brokerPort = typeof address === "object" && address ? address.port : 0;
});
afterAll(async () => {
  await hub.stop();
  await new Promise<void>((resolve) => aedes.close(() => resolve()));
  broker.close();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-example-"));
  device = new SerialDevice();
  device.line.plug();
});
afterEach(async () => {
  await device.stop();
  await bus?.stop();
  bus = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** What was published where the example publishes to. */
function bodiesOf({ publishes }: Example): readonly string[] {
  if (publishes === undefined) return hub.messages.map((message) => message.body.toString("utf8"));
  return atBroker.filter(({ topic }) => topic === publishes).map(({ body }) => body);
}

function publish(topic: string, payload: string): Promise<void> {
  const packet = { cmd: "publish", topic, payload, qos: 1, retain: false, dup: false } as const;
  return new Promise((resolve, reject) =>
    aedes.publish(packet, (error) => (error ? reject(error) : resolve())),
  );
}

/** Where the example's source finds its device here, as variables of the environment layer. */
function where(
  { source, topic, stream, kernel, camera }: Example,
  type: string,
  names: readonly string[],
): Record<string, string> {
  if (kernel) return kernel(folder);
  if (camera) return camera.place(folder);
  if (type === "http") return {};
  if (type === "socket")
    return { [`HEADGATE__sources__${source}__listen`]: `unix:${join(folder, "in.sock")}` };
  const { path } = bus ?? {};
  if (path !== undefined)
    return Object.fromEntries(names.map((name) => [`HEADGATE__sources__${name}__path`, path]));
  if (topic !== undefined) return { [`HEADGATE__sources__${source}__url`]: `mqtt://127.0.0.1:${brokerPort}` };
  return {
    [`HEADGATE__sources__${source}__path`]: device.path,
    ...(stream === undefined
      ? { [`HEADGATE__sources__${source}__framing`]: JSON.stringify({ kind: "lines", first: "keep" }) }
      : {}),
  };
}

function modelOf({ model }: Example): Record<string, string> {
  if (!model) return {};
  const [name, pieces] = model;
  return { [`HEADGATE__models__${name}__file`]: modelFile(folder, "model.onnx", pieces()).file };
}

test("there is a case for every example", () => {
  expect(readdirSync(examples).sort()).toEqual(Object.keys(exampleCases).sort());
});

test.each(Object.entries(exampleCases))("%s", async (name, example) => {
  const config = JSON.parse(readFileSync(join(examples, name), "utf8"));
  const { type } = config.sources[example.source];
  const window = Object.keys(config.windows)[0];
  if (example.units) bus = new SerialBus();
  for (const [i, values] of example.units?.entries() ?? []) await bus?.unit(i + 1, values);
  const container = example.container ? await startSentimentContainer() : undefined;
  // Only what cannot be here is replaced, through the environment layer: the port, the hub's address, long waits.
  const environment: Record<string, string> = {
    ...hub.environment("gateway"),
    IOTHUB_CONNECTION_STRING: hub.connectionString("edge", "gateway", { gateway: true }),
    MQTT_PASSWORD: "secret",
    BROKER_PASSWORD: "secret",
    ...(container ? { HEADGATE__sentiment__url: container.url } : {}),
    ...modelOf(example),
    ...where(example, type, Object.keys(config.sources)),
    HEADGATE__api__port: "0",
    [`HEADGATE__windows__${window}__sizeMs`]: config.hub.type === "mqtt" ? "10000" : "2000",
    HEADGATE__publish__maxDelayMs: "0",
    HEADGATE__clock__maxHoldMs: "0",
    HEADGATE__store__path: join(folder, "store"),
    HEADGATE__store__maxLossMs: "100",
    ...(config.hub.type === "iothub" ? { HEADGATE__hub__caFile: hub.caFile } : {}),
    ...(config.hub.type === "mqtt" ? { HEADGATE__hub__url: `mqtt://127.0.0.1:${brokerPort}` } : {}),
  };
  Object.assign(process.env, hub.environment("gateway"));
  const fatal: unknown[] = [];
  const gateway = await Gateway.start({
    configFile: join(examples, name),
    environment,
    clock: systemClock,
    log: recordingLog(),
    onFatal: (error) => fatal.push(error),
  });
  try {
    await until("the port is open", () => gateway.status.sources[example.source]?.state === "open");
    const before = bodiesOf(example).length;
    if (config.hub.type !== "mqtt") {
      // The window is cut by the time of receipt here: begin with a fresh one.
      await systemClock.sleep(2_000 - (Date.now() % 2_000) + 50);
    }
    const text = example.stream ?? example.lines.map((line) => `${line}\n`).join("");
    if (type === "http") await post(gateway, text);
    else if (type === "socket") await write(join(folder, "in.sock"), text);
    else if (example.topic !== undefined)
      for (const line of example.lines) await publish(example.topic, line);
    else if (example.camera) await example.camera.drop(folder);
    else if (!example.units && !example.kernel) await device.send(text);
    const entries = () =>
      bodiesOf(example)
        .slice(before)
        .flatMap((body) => messageBody.parse(JSON.parse(body)));
    const window = () => entries().find(({ kind }) => kind === "window");
    await until("the window arrives", () => window() !== undefined);
    expect(window()).toMatchObject(example.expected);
    const alarms = () => entries().filter(({ kind }) => kind === "alarm");
    await until("its alarms arrive", () => alarms().length >= (example.alarms?.length ?? 0));
    expect(alarms()).toMatchObject(example.alarms ?? []);
    expect(imbalances(await gateway.audit())).toEqual([]);
  } finally {
    await gateway.stop(AbortSignal.timeout(8_000));
    await container?.stop();
  }
  expect(fatal).toEqual([]);
});

function write(path: string, text: string): Promise<void> {
  const socket = connect({ path });
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("close", () => resolve());
    socket.resume().end(text);
  });
}

async function post(gateway: Gateway, body: string): Promise<void> {
  const token = readFileSync(join(gateway.storeFolder, "api-token"), "utf8").trim();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" };
  const answer = await fetch(`${gateway.status.api.url}/api/readings`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
}
