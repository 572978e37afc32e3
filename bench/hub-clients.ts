/**
 * Messages a second, processor time per message and memory of the hub clients, against the embedded hub in a process
 * of its own, over TLS: the Azure SDK, the direct client, and the bare `mqtt` package publishing the same.
 * Each client lives in its own process; they take turns, so that whatever else the machine does strikes all alike.
 *
 *   node bench/hub-clients.ts [--quick] [--json]
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { systemClock } from "../src/core/clock.ts";
import type { HubClient, HubMessage } from "../src/hub/hub-client.ts";

export interface HubClientsOptions {
  /** Of each turn. */
  readonly turnMs: number;
  readonly turns: number;
  readonly inFlight: readonly number[];
  readonly bodyBytes: number;
}

export const quick: HubClientsOptions = { turnMs: 400, turns: 3, inFlight: [1, 64], bodyBytes: 2_048 };
export const full: HubClientsOptions = {
  turnMs: 3_000,
  turns: 5,
  inFlight: [1, 16, 64, 256],
  bodyBytes: 2_048,
};

const names = ["bare", "direct", "sdk"] as const;
type Name = (typeof names)[number];

export interface HubClientsResult {
  readonly client: Name;
  readonly inFlight: number;
  /** Median of the turns. */
  readonly messagesPerS: number;
  readonly cpuUsPerMessage: number;
  /** Of the whole process: when it was connected, and at the end of the last turn. */
  readonly idleRssMb: number;
  readonly rssMb: number;
}

interface Access {
  readonly connectionString: string;
  readonly caFile: string;
  readonly port: number;
  readonly hostName: string;
  readonly moduleId: string;
}
interface Turn {
  readonly inFlight: number;
  readonly turnMs: number;
  readonly bodyBytes: number;
}
interface Measured {
  readonly messages: number;
  readonly ms: number;
  readonly cpuUs: number;
  readonly rssBytes: number;
}

export async function hubClients(options: HubClientsOptions): Promise<HubClientsResult[]> {
  const children: ChildProcess[] = [];
  const start = (...args: string[]) => {
    const execArgv = ["--disable-warning=ExperimentalWarning"];
    const child = fork(import.meta.filename, args, { execArgv });
    children.push(child);
    return child;
  };
  try {
    const [access] = (await once(start("--hub"), "message")) as [Record<Name, Access>];
    const workers = new Map<Name, ChildProcess>();
    const idle = new Map<Name, number>();
    for (const name of names) {
      const worker = start("--client", name);
      workers.set(name, worker);
      idle.set(name, Math.round(Number(await ask(worker, access[name])) / 1e6));
    }
    const results: HubClientsResult[] = [];
    for (const inFlight of options.inFlight) {
      const measured = new Map<Name, Measured[]>(names.map((name) => [name, []]));
      // The first turn is for the compiler.
      for (let turn = 0; turn <= options.turns; turn++) {
        for (const [name, worker] of workers) {
          const one = (await ask(worker, { ...options, inFlight })) as Measured;
          if (turn > 0) measured.get(name)?.push(one);
        }
      }
      for (const [client, turns] of measured) {
        const messagesPerS = Math.round(median(turns.map(({ messages, ms }) => (messages / ms) * 1_000)));
        const cpuUsPerMessage = Math.round(median(turns.map(({ messages, cpuUs }) => cpuUs / messages)));
        const rssMb = Math.round((turns.at(-1)?.rssBytes ?? 0) / 1e6);
        const idleRssMb = idle.get(client) ?? Number.NaN;
        results.push({ client, inFlight, messagesPerS, cpuUsPerMessage, idleRssMb, rssMb });
      }
    }
    return results;
  } finally {
    for (const child of children) child.kill();
  }
}

async function ask(worker: ChildProcess, what: Access | Turn): Promise<unknown> {
  const answered = once(worker, "message");
  worker.send(what);
  return (await answered)[0];
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

async function runHub(): Promise<void> {
  const { startEmbeddedHub } = await import("../src/embedded-hub/embedded-hub.ts");
  const hub = await startEmbeddedHub({ modules: names });
  const access = names.map((moduleId) => {
    const { caFile, port, hostName } = hub;
    return [
      moduleId,
      { connectionString: hub.connectionString("edge", moduleId), caFile, port, hostName, moduleId },
    ];
  });
  process.send?.(Object.fromEntries(access));
  process.once("SIGTERM", () => void hub.stop().then(() => process.exit()));
}

async function runClient(name: Name): Promise<void> {
  let send: ((id: string, body: Buffer) => Promise<unknown>) | undefined;
  let made = 0;
  process.on("message", async (asked: Access | Turn) => {
    if ("caFile" in asked) {
      send = await sender(name, asked);
      process.send?.(process.memoryUsage.rss());
      return;
    }
    const body = Buffer.alloc(asked.bodyBytes, 0x61);
    const cpu = process.cpuUsage();
    const startedMs = performance.now();
    let messages = 0;
    const lane = async () => {
      while (performance.now() - startedMs < asked.turnMs) {
        await send?.(`message-${made++}`, body);
        messages++;
      }
    };
    await Promise.all(Array.from({ length: asked.inFlight }, lane));
    const { user, system } = process.cpuUsage(cpu);
    const ms = performance.now() - startedMs;
    process.send?.({
      messages,
      ms,
      cpuUs: user + system,
      rssBytes: process.memoryUsage.rss(),
    } satisfies Measured);
  });
}

async function sender(name: Name, access: Access): Promise<(id: string, body: Buffer) => Promise<unknown>> {
  if (name === "bare") return barePublisher(access);
  const options = {
    connectionString: () => access.connectionString,
    caFile: access.caFile,
    connectTimeoutMs: 20_000,
    sendTimeoutMs: 20_000,
    twinTimeoutMs: 20_000,
    closeTimeoutMs: 2_000,
  };
  const events = { lost: (reason: Error) => fail(reason), desired: () => undefined };
  let client: HubClient;
  if (name === "sdk") {
    const { AzureClient } = await import("../src/hub/azure-client.ts");
    client = new AzureClient(options, events);
  } else {
    const { DirectClient } = await import("../src/hub/direct-client.ts");
    const own = { environment: {}, productInfo: "headgate/bench", clock: systemClock };
    client = new DirectClient({ ...options, ...own }, events);
  }
  await client.connect();
  const message = {
    output: "readings",
    contentType: "application/json",
    contentEncoding: "utf-8",
    properties: { kind: "window" },
  } as const satisfies Partial<HubMessage>;
  return (id, body) => client.send({ ...message, id, body });
}

async function barePublisher(access: Access) {
  const { default: mqtt } = await import("mqtt");
  const { createHmac } = await import("node:crypto");
  const resource = encodeURIComponent(`${access.hostName}/devices/edge/modules/${access.moduleId}`);
  const expiry = Math.floor(Date.now() / 1_000) + 3_600;
  const key = /SharedAccessKey=([^;]*)/.exec(access.connectionString)?.[1] ?? "";
  const signed = createHmac("sha256", Buffer.from(key, "base64"))
    .update(`${resource}\n${expiry}`)
    .digest("base64");
  const client = await mqtt.connectAsync(`mqtts://localhost:${access.port}`, {
    protocolVersion: 4,
    clientId: `edge/${access.moduleId}`,
    username: `${access.hostName}/edge/${access.moduleId}/?api-version=2021-04-12`,
    password: `SharedAccessSignature sr=${resource}&sig=${encodeURIComponent(signed)}&se=${expiry}`,
    clean: false,
    ca: readFileSync(access.caFile),
  });
  const topic = `devices/edge/modules/${access.moduleId}/messages/events/%24.on=readings`;
  const rest = "%24.ct=application%2Fjson&%24.ce=utf-8&kind=window";
  return (id: string, body: Buffer) =>
    client.publishAsync(`${topic}&%24.mid=${id}&${rest}`, body, { qos: 1 });
}

function fail(reason: Error): void {
  console.error(reason);
  process.exit(1);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean" },
      json: { type: "boolean" },
      hub: { type: "boolean" },
      client: { type: "string" },
    },
  });
  if (values.hub) await runHub();
  else if (values.client) await runClient(values.client as Name);
  else {
    const results = await hubClients(values.quick ? quick : full);
    if (values.json) console.log(JSON.stringify(results));
    else console.table(results);
  }
}
