/** Preloaded into the daemon and its threads: the process kills itself in the phase that the environment names. */
import { subscribe } from "node:diagnostics_channel";
import { writeFileSync } from "node:fs";

const { phase, occurrence, waitMs, laterMs, note } = JSON.parse(process.env.HEADGATE_KILL_AT ?? "{}") as {
  phase: string;
  occurrence: number;
  waitMs: number;
  laterMs: number;
  note: string;
};
let seen = 0;

function kill(): void {
  const monotonicMs = Number(process.hrtime.bigint()) / 1e6;
  writeFileSync(note, JSON.stringify({ phase, monotonicMs }));
  process.kill(process.pid, "SIGKILL");
}

subscribe("headgate:phase", (entered) => {
  if (entered !== phase || ++seen !== occurrence) return;
  const endMs = performance.now() + waitMs;
  while (performance.now() < endMs);
  if (laterMs > 0) setTimeout(kill, laterMs);
  else kill();
});
