import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { askStatus } from "../../src/api/status-socket.ts";
import type { GatewayStatus } from "../../src/gateway-status.ts";
import type { Children } from "../../test/faults/soak/children.ts";
import { sleep } from "../../test/faults/time.ts";

/** A process that scores. */
export interface Scorer {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const project = fileURLToPath(new URL("../..", import.meta.url));
const args = ["--disable-warning=ExperimentalWarning"];

/** A gateway with one source of type `http`, and one model when there are settings of it. */
export async function startGateway(
  folder: string,
  model: object | undefined,
  children: Children,
): Promise<Scorer> {
  mkdirSync(folder, { recursive: true });
  const store = join(folder, "store");
  const config = {
    gateway: { name: "bench" },
    sources: { line: { type: "http", decode: { format: "json" }, device: "d" } },
    windows: { second: { sizeMs: 1_000 } },
    models: model === undefined ? {} : { zoo: { maxQueue: 64, ...model } },
    api: { port: 0, scoring: "open", token: { env: "BENCH_TOKEN" } },
    clock: { maxHoldMs: 0 },
    store: { path: store, minCommitMs: 0 },
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
  };
  const file = join(folder, "headgate.json");
  writeFileSync(file, JSON.stringify(config));
  const command = [
    ...args,
    join(project, "bin/headgate.js"),
    "run",
    "--config",
    file,
    "--log-level",
    "error",
  ];
  const env = { ...process.env, BENCH_TOKEN: token };
  const child = spawn(process.execPath, command, { stdio: ["ignore", 2, 2], env });
  children.add(child);
  for (let i = 0; i < 600; i++) {
    const status = (await askStatus(store, 2_000).catch(() => undefined)) as GatewayStatus | undefined;
    const isReady = model === undefined || status?.models.zoo?.state === "ready";
    const { url } = status?.api ?? {};
    if (url && isReady) return { url, pid: child.pid ?? 0, stop: () => children.end(child) };
    await sleep(100);
  }
  throw new Error("the gateway is not ready");
}

export const token = "bench";

export async function startBare(model: string, threads: number, children: Children): Promise<Scorer> {
  const program = fileURLToPath(new URL("./bare-scorer.ts", import.meta.url));
  const child = spawn(process.execPath, [...args, program, model, String(threads)], {
    stdio: ["ignore", "pipe", 2],
  });
  children.add(child);
  const port = await new Promise<string>((resolve, reject) => {
    child.stdout?.setEncoding("utf8").once("data", (text: string) => resolve(text.trim()));
    child.once("exit", () => reject(new Error("the bare scorer ended")));
  });
  return { url: `http://127.0.0.1:${port}`, pid: child.pid ?? 0, stop: () => children.end(child) };
}
