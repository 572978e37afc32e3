import { StatusSocket } from "../api/status-socket.ts";
import { systemClock } from "../core/clock.ts";
import { createLog } from "../observe/log.ts";
import { StoreClient } from "../store/store-client.ts";
import { fatal, hangup, untilStopped } from "./lifetime.ts";

export interface RunOptions {
  readonly config?: string;
  readonly logLevel: string;
}

/** `headgate run`: the daemon, as it runs on a box. */
export async function run({ config, logLevel }: RunOptions, signal: Promise<unknown>): Promise<void> {
  const log = await createLog({ level: logLevel, pretty: process.stderr.isTTY === true });
  const onFatal = fatal(log);
  process.on("uncaughtException", onFatal);
  process.on("unhandledRejection", onFatal);
  const reload = hangup();
  const { env: environment } = process;
  // Its thread starts while this one loads the rest: a sixth less until the first reading on two cores.
  const store = new StoreClient(onFatal);
  const { Gateway } = await import("../gateway.ts");
  const options = { configFile: config, environment, clock: systemClock, log, onFatal, store };
  const gateway = await Gateway.start(options);
  const socket = new StatusSocket(gateway.storeFolder, gateway.answers, log);
  await socket.start();
  reload(() => gateway.reload());
  const stop = async (deadline: AbortSignal) => {
    await socket.stop();
    await gateway.stop(deadline);
  };
  await untilStopped([signal], stop, log);
}
