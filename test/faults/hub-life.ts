import type { EmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { sleep } from "./time.ts";

/** What a hub can do to a gateway, each for a while. */
export const hubTroubles: Readonly<
  Record<string, (hub: EmbeddedHub, random: () => number) => void | Promise<void>>
> = {
  stopped: async (hub, random) => {
    await hub.stopListening();
    await sleep(random() * 1_500);
    await hub.startListening();
  },
  slow: (hub, random) => hub.setFault("delayPuback", { ms: 100 + Math.floor(random() * 300), next: 20 }),
  late: (hub) => hub.setFault("withholdPuback", { ms: 1_500, next: 2 }),
  never: (hub) => hub.setFault("withholdPuback", { next: 1 }),
  twice: (hub) => hub.setFault("duplicatePuback", { next: 20 }),
  lost: (hub) => hub.setFault("acceptThenLosePuback", { next: 1 }),
  cut: (hub) => hub.setFault("dropOnMessage", { every: 3, next: 1 }),
  hungUp: (hub) => {
    hub.killConnections();
  },
};

export type HubTrouble = keyof typeof hubTroubles;

/** A hub that gets into trouble again and again until it is told to be well. */
export class HubLife {
  readonly seen: Record<string, number> = {};
  readonly #hub: EmbeddedHub;
  readonly #random: () => number;
  #going = true;
  readonly #life: Promise<void>;

  constructor(hub: EmbeddedHub, random: () => number, pauseMs = 1_200) {
    this.#hub = hub;
    this.#random = random;
    this.#life = this.#live(pauseMs);
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#life;
    this.#hub.clearFaults();
    await this.#hub.startListening();
  }

  async #live(pauseMs: number): Promise<void> {
    const names = Object.keys(hubTroubles);
    while (this.#going) {
      await sleep(this.#random() * pauseMs);
      const name = names[Math.floor(this.#random() * names.length)] ?? "stopped";
      this.seen[name] = (this.seen[name] ?? 0) + 1;
      await hubTroubles[name]?.(this.#hub, this.#random);
    }
  }
}
