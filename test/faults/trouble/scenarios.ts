import type { EmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import type { FieldOptions } from "../field.ts";
import type { RunningDaemon } from "../running-daemon.ts";
import type { Shim } from "../shim/shim.ts";
import type { TearableLink } from "../tearable-link.ts";
import { sleep } from "../time.ts";

export interface Stage {
  readonly shim: Shim;
  readonly hub: EmbeddedHub;
  readonly link: TearableLink;
  readonly daemon: RunningDaemon;
  readonly random: () => number;
  /** Starts the daemon under the shim. */
  readonly start: () => void;
}

/** What happens to a daemon that runs with a device that sends; afterwards everything must arrive. */
export interface Scenario {
  readonly name: string;
  readonly ownTime: boolean;
  /** Readings may be lost, because the process is killed with some in memory. */
  readonly isDeadly?: true;
  readonly more?: FieldOptions["more"];
  play(stage: Stage): Promise<void>;
}

const byOwnTime = (name: string, play: Scenario["play"]): Scenario => ({ name, ownTime: true, play });

async function untilFailing({ daemon }: Stage): Promise<void> {
  await daemon.untilStatus("the store fails", ({ intake }) => intake.state === "failing");
}

const disks: readonly Scenario[] = [
  byOwnTime("a disk on which no file can grow, and then can", async (stage) => {
    stage.shim.full("growing");
    // The write-ahead log is written over from its start for a while; only then it has to grow.
    await untilFailing(stage);
    await sleep(stage.random() * 2_000);
    stage.shim.full("off");
  }),
  byOwnTime("a disk that takes nothing, and then does", async (stage) => {
    stage.shim.full("always");
    await untilFailing(stage);
    await sleep(stage.random() * 2_000);
    stage.shim.full("off");
  }),
  byOwnTime("a full disk that comes and goes", async ({ shim, random }) => {
    for (let time = 0; time < 8; time++) {
      shim.full(random() < 0.5 ? "growing" : "always");
      await sleep(random() * 400);
      shim.full("off");
      await sleep(random() * 400);
    }
  }),
  byOwnTime("a disk that is read-only for a while", async (stage) => {
    stage.shim.readOnly("on");
    await untilFailing(stage);
    await sleep(stage.random() * 2_000);
    stage.shim.readOnly("off");
  }),
  {
    name: "a kill while the disk is full",
    ownTime: true,
    isDeadly: true,
    play: async (stage) => {
      stage.shim.full("always");
      await untilFailing(stage);
      await stage.daemon.kill();
      stage.shim.full("off");
      stage.start();
    },
  },
  ...[50, 500].map((ms) =>
    byOwnTime(`syncs that take ${ms} ms`, async ({ shim }) => {
      shim.syncDelay(ms);
      await sleep(6_000);
      shim.syncDelay(0);
    }),
  ),
];

/** Windows are small, and the clock is known to be what it is at once. */
const receiptStamped = (name: string, play: Scenario["play"]): Scenario => ({
  name,
  ownTime: false,
  more: { clock: { maxHoldMs: 0 } },
  play,
});

const clocks: readonly Scenario[] = [
  ...[3_000, -3_000, 3_600_000, -3_600_000].flatMap((ms) => {
    const by = `${ms > 0 ? "+" : "−"}${Math.abs(ms) >= 3_600_000 ? "1 h" : "3 s"}`;
    return [
      receiptStamped(`a wall clock that steps by ${by}`, async ({ shim }) => {
        shim.wallOffset(ms);
        await sleep(3_000);
      }),
      receiptStamped(`a wall clock that steps by ${by} and back`, async ({ shim }) => {
        shim.wallOffset(ms);
        await sleep(3_000);
        shim.wallOffset(0);
        await sleep(3_000);
      }),
    ];
  }),
  {
    name: "a wall clock that is an hour behind at a start, by readings' own time",
    ownTime: true,
    play: async ({ shim, daemon, start }) => {
      await daemon.stop();
      shim.wallOffset(-3_600_000);
      start();
      await daemon.untilStatus("it runs", () => true);
      await sleep(2_000);
      shim.wallOffset(0);
      await sleep(1_000);
    },
  },
];

const hubs: readonly Scenario[] = [
  byOwnTime("a hub that stops and starts", async ({ hub, random }) => {
    for (let time = 0; time < 4; time++) {
      await hub.stopListening();
      await sleep(random() * 1_500);
      await hub.startListening();
      await sleep(random() * 1_500);
    }
  }),
  byOwnTime("a hub that answers slowly", async ({ hub }) => {
    hub.setFault("delayPuback", { ms: 400, forMs: 6_000 });
    await sleep(6_000);
  }),
  byOwnTime("a hub that acknowledges too late", async ({ hub }) => {
    hub.setFault("withholdPuback", { ms: 1_500, next: 3 });
    await sleep(6_000);
  }),
  byOwnTime("a hub that never acknowledges", async ({ hub }) => {
    hub.setFault("withholdPuback", { next: 3 });
    await sleep(6_000);
  }),
  byOwnTime("a hub that acknowledges twice", async ({ hub }) => {
    hub.setFault("duplicatePuback", { forMs: 6_000 });
    await sleep(6_000);
  }),
  byOwnTime("a hub that takes messages and loses the connection", async ({ hub, random }) => {
    for (let time = 0; time < 3; time++) {
      hub.setFault("acceptThenLosePuback", { next: 1 });
      await sleep(random() * 2_000);
    }
  }),
  byOwnTime("a connection that is cut inside a packet", async ({ link, random }) => {
    for (let time = 0; time < 6; time++) {
      link.tearAfter(1 + Math.floor(random() * 4_000));
      await sleep(500 + random() * 1_000);
    }
    if (link.tears === 0) throw new Error("the connection was never cut");
    link.tearAfter(Number.POSITIVE_INFINITY);
  }),
];

export const scenarios: readonly Scenario[] = [...disks, ...clocks, ...hubs];
