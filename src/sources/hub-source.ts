import type { HubSourceConfig } from "../config/schema.ts";
import type { InputMessage } from "../hub/hub-client.ts";
import type { HubInbox, InputTaker } from "./hub-inbox.ts";
import type { Source, WaitingSink } from "./source.ts";

/** Messages that the hub brings to this gateway, such as those of other modules; each of them is one frame. */
export class HubSource implements Source, InputTaker {
  readonly #config: HubSourceConfig;
  readonly #sink: WaitingSink;
  readonly #inbox: HubInbox;
  #detach: (() => void) | undefined;

  constructor(config: HubSourceConfig, sink: WaitingSink, inbox: HubInbox) {
    this.#config = config;
    this.#sink = sink;
    this.#inbox = inbox;
  }

  start(): void {
    if (this.#detach) return;
    const ends = [
      this.#inbox.watch((status) => this.#sink.status(status)),
      this.#inbox.attach(this.#config.input, this),
    ];
    this.#detach = () => {
      for (const end of ends) end();
    };
  }

  async stop(): Promise<void> {
    this.#detach?.();
    this.#detach = undefined;
  }

  take({ body, properties, waits }: InputMessage): boolean {
    const { device, maxPayloadBytes } = this.#config;
    const sink = this.#sink;
    if (body.length > maxPayloadBytes) sink.discard("overlong", body.length, body);
    else if (waits && !sink.hasRoom(body.length)) return false;
    else {
      const isNamed = typeof device === "object" && "property" in device;
      sink.frame(body, isNamed ? properties[device.property] : undefined);
    }
    return true;
  }

  committed(): Promise<void> {
    return this.#sink.committed();
  }
}
