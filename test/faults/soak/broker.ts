import { type ChildProcess, fork, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "../../support/until.ts";
import type { Children } from "./children.ts";

export interface Broker {
  readonly kind: "mosquitto" | "aedes";
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** Far above what is in flight between two commits at any rate that the gateway bears. */
const maxInflight = 5_000;

/** A broker in a process of its own: mosquitto where it is installed, aedes otherwise. It never drops a message. */
export async function startBroker(folder: string, children: Children): Promise<Broker> {
  const port = await freePort();
  // Its help ends with code 1; only a missing program is an error.
  const hasMosquitto = spawnSync("mosquitto", ["-h"]).error === undefined;
  const child = hasMosquitto ? mosquitto(folder, port) : aedes(port);
  children.add(child);
  await until("the broker listens", () => answers(port));
  return {
    kind: hasMosquitto ? "mosquitto" : "aedes",
    port,
    pid: child.pid ?? 0,
    stop: () => children.end(child),
  };
}

/** Writes a configuration for Mosquitto that drops nothing; returns its file. */
export function mosquittoFile(folder: string, port: number, more: readonly string[] = []): string {
  const file = join(folder, "mosquitto.conf");
  const lines = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence false",
    `max_inflight_messages ${maxInflight}`,
    "max_queued_messages 0",
    "log_type error",
    "set_tcp_nodelay true",
    ...more,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

function mosquitto(folder: string, port: number): ChildProcess {
  const file = mosquittoFile(folder, port);
  return spawn("mosquitto", ["-c", file], { stdio: ["ignore", "inherit", "inherit"] });
}

function aedes(port: number): ChildProcess {
  return fork(fileURLToPath(new URL("./aedes-broker.ts", import.meta.url)), [String(port)], {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

export function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
