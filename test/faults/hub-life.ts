import type { EmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { branch } from "../support/random.ts";
import type { TearableLink } from "./tearable-link.ts";
import { sleep } from "./time.ts";

interface Way {
  readonly hub: EmbeddedHub;
  readonly link: TearableLink;
  readonly random: () => number;
}

/** What a hub, and the way to it, can do to a gateway, each for a while. */
const troubles: Readonly<Record<string, (way: Way) => void | Promise<void>>> = {
  stopped: async ({ hub, random }) => {
    await hub.stopListening();
    await sleep(random() * 1_500);
    await hub.startListening();
  },
  slow: ({ hub, random }) => hub.setFault("delayPuback", { ms: 100 + Math.floor(random() * 300), next: 20 }),
  late: ({ hub }) => hub.setFault("withholdPuback", { ms: 1_500, next: 2 }),
  never: ({ hub }) => hub.setFault("withholdPuback", { next: 1 }),
  twice: ({ hub }) => hub.setFault("duplicatePuback", { next: 20 }),
  lost: ({ hub }) => hub.setFault("acceptThenLosePuback", { next: 1 }),
  refused: ({ hub }) => hub.setFault("dropOnMessage", { every: 3, next: 1 }),
  torn: ({ link, random }) => link.tearAfter(1 + Math.floor(random() * 3_000)),
};

/** A hub that gets into trouble again and again until it is told to be well. */
export class HubLife {
  readonly #way: Way;
  #going = true;
  readonly #life: Promise<void>;

  constructor(hub: EmbeddedHub, link: TearableLink, random: () => number) {
    this.#way = { hub, link, random: branch(random) };
    this.#life = this.#live();
  }

  /** Safe twice. */
  async stop(): Promise<void> {
    this.#going = false;
    await this.#life;
    const { hub, link } = this.#way;
    hub.clearFaults();
    link.tearAfter(Number.POSITIVE_INFINITY);
    await hub.startListening();
  }

  async #live(): Promise<void> {
    const all = Object.values(troubles);
    const { random } = this.#way;
    while (this.#going) {
      await sleep(random() * 1_200);
      await all[Math.floor(random() * all.length)]?.(this.#way);
    }
  }
}
