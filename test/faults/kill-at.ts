/** Preloaded into the daemon and its threads: the process kills itself in the phase that the environment names. */
import { subscribe } from "node:diagnostics_channel";
import { writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import type { KillOrder } from "./running-daemon.ts";

const order = JSON.parse(process.env.HEADGATE_KILL_AT ?? "{}") as KillOrder & { readonly note: string };
const { phase, occurrence, waitMs, note } = order;

/** Another thread kills, so that what the phase announces goes on until then; it has to be there in time. */
const alarm = new Int32Array(new SharedArrayBuffer(4));
const killer = `
  const { workerData: { alarm, waitMs, note, phase } } = require("node:worker_threads");
  Atomics.wait(alarm, 0, 0);
  const endMs = performance.now() + waitMs;
  while (performance.now() < endMs) continue;
  const monotonicMs = Number(process.hrtime.bigint()) / 1e6;
  require("node:fs").writeFileSync(note, JSON.stringify({ phase, monotonicMs }));
  process.kill(process.pid, "SIGKILL");
`;
if (waitMs > 0) {
  // Without this preload: it would start a thread of its own, and so on.
  const options = { eval: true, execArgv: [], workerData: { alarm, waitMs, note, phase } };
  new Worker(killer, options).unref();
}

let seen = 0;
subscribe("headgate:phase", (entered) => {
  if (entered !== phase || ++seen !== occurrence) return;
  if (waitMs > 0) {
    Atomics.store(alarm, 0, 1);
    Atomics.notify(alarm, 0);
    return;
  }
  const monotonicMs = Number(process.hrtime.bigint()) / 1e6;
  writeFileSync(note, JSON.stringify({ phase, monotonicMs }));
  process.kill(process.pid, "SIGKILL");
});
