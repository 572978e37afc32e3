import { join } from "node:path";
import { Field } from "../field.ts";
import { HubLife } from "../hub-life.ts";
import type { PartOptions } from "../part.ts";
import type { KillOrder } from "../running-daemon.ts";
import { monotonicMs, sleep } from "../time.ts";
import type { Tally } from "./tally.ts";

/** Phases that any daemon with a device and a hub comes through, and up to which occurrence a kill waits. */
export const fieldPhases: Readonly<Record<string, number>> = {
  start: 1,
  replay: 2,
  commit: 25,
  snapshot: 2,
  trim: 2,
  publish: 2,
  shutdown: 1,
};

/** A store grows with its kills, since nothing of its journal is trimmed. */
const killsPerStore = 40;
const maxLossMs = 40;
/** Often enough for a snapshot in a life that lasts a second. */
const moreStore = { snapshotEvery: 40 };
/** A busy machine may hold up a process; what is lost much later than promised is not that any more. */
const tolerableMs = 5_000;

const mostTries = 5;

/** Kills a daemon in those phases, in order, on stores that live for some kills and are judged at their end. */
export async function killInField(
  phases: readonly string[],
  lane: string,
  { random, folder, say }: Pick<PartOptions, "random" | "folder" | "say">,
  tally: Tally,
): Promise<void> {
  for (let from = 0, store = 0; from < phases.length; from += killsPerStore, store++) {
    const own = join(folder, `${lane}-${store}`);
    const field = await Field.open({ folder: own, random, maxLossMs, ownTime: true, moreStore });
    const hubLife = new HubLife(field.hub, field.link, random);
    try {
      for (const phase of phases.slice(from, from + killsPerStore)) {
        // One that misses its phase, because the machine was busy or the daemon quick, says nothing of it.
        let isKilled = false;
        for (let tries = 0; tries < mostTries && !isKilled; tries++)
          isKilled = await killOnce(field, orderOf(phase, random), tally);
      }
      await hubLife.stop();
      field.daemon.start();
      await field.daemon.untilStatus("it runs", () => true);
      await sleep(500);
      tally.drained(`store ${lane}-${store}`, await field.drain());
      say(tally.progress);
    } finally {
      await hubLife.stop();
      await field.close();
    }
  }
}

function orderOf(phase: string, random: () => number): KillOrder {
  const occurrence = 1 + Math.floor(random() * (fieldPhases[phase] ?? 1));
  // A start and a shutdown are long: their kills come somewhere within.
  const longestMs = phase === "start" || phase === "shutdown" ? 300 : 3;
  const waitMs = random() < 0.5 ? 0 : random() * longestMs;
  return { phase, occurrence, waitMs };
}

/** False when it was killed elsewhere. */
async function killOnce(field: Field, order: KillOrder, tally: Tally): Promise<boolean> {
  const { daemon } = field;
  const startedMs = monotonicMs();
  daemon.start(order);
  const code = await daemon.killsItself(() => {
    if (order.phase === "shutdown") daemon.signal("SIGTERM");
  });
  const { killed } = daemon;
  if (killed) tally.kill(order.phase);
  else tally.missed();
  // Stopped in order before its timer came: a shutdown that was too quick to be killed.
  if (code !== null && !(order.phase === "shutdown" && code === 0)) {
    tally.problem(`a daemon to be killed in ${order.phase} ended with code ${code}; see ${daemon.folder}`);
  }
  field.collect();
  if (killed && order.phase !== "shutdown") {
    const { count, longestMs } = field.broken(startedMs, killed.monotonicMs);
    tally.lostLate(count, longestMs);
    if (longestMs > maxLossMs + tolerableMs) {
      tally.problem(`a kill in ${order.phase} took a reading that was ${Math.round(longestMs)} ms old`);
    }
  }
  return killed !== undefined;
}
