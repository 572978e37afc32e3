import { setImmediate } from "node:timers/promises";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import type { HubMessage } from "../../src/hub/hub-client.ts";
import type { MessageClass } from "../../src/outbox/message-body.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import { Publisher, type PublisherOptions, type PublishSettings } from "../../src/publish/publisher.ts";
import type { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { plain } from "../support/hub-message.ts";

/** One message in flight. */
export const one = { maxInFlight: 1, backfill: { messagesPerSecond: 1_000, bytesPerSecond: 1e9 } };

/** An outbox and a hub in memory; each send ends when the test says how. */
export function running(settings: PublishSettings = one, clock: Clock = systemClock) {
  const outbox: OutboxMessage[] = [];
  const events: string[] = [];
  const sends: { readonly message: HubMessage; confirm(): void; fail(error: unknown): void }[] = [];
  const fatal: unknown[] = [];
  const putAs = (of: MessageClass, ...sequences: number[]) => {
    for (const sequence of sequences)
      outbox.push({
        sequence,
        previous: outbox.findLast((m) => m.class === of)?.sequence ?? 0,
        id: `m${sequence}`,
        output: "readings",
        class: of,
        ...plain,
        body: new Uint8Array([sequence]),
      });
  };
  let online = true;
  let held = false;
  let waiting: (() => void)[] = [];
  const options: PublisherOptions = {
    next: async (done, isBackfillWanted) =>
      ["alarm", "live", ...(isBackfillWanted ? ["backfill"] : [])]
        .map((of) => outbox.find((m) => m.class === of && m.sequence > done[m.class]))
        .find((m) => m !== undefined),
    connected: async (signal) => {
      while (!online) {
        signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      }
    },
    mayHandOver: () => !held,
    send: (message) =>
      new Promise((resolve, reject) => {
        events.push(`send ${message.id}`);
        sends.push({ message, confirm: resolve, fail: reject });
      }),
    acknowledge: (sequence) => events.push(`acknowledge ${sequence}`),
    reject: (sequence) => events.push(`reject ${sequence}`),
    onFatal: (error) => fatal.push(error),
    clock,
    log: recordingLog(),
  };
  const publisher = new Publisher(options, settings);
  return {
    options,
    publisher,
    outbox,
    events,
    fatal,
    put: (...sequences: number[]) => putAs("live", ...sequences),
    putAs,
    connect: (now: boolean) => {
      online = now;
      for (const resolve of waiting.splice(0)) resolve();
      waiting = [];
    },
    /** Ends one of several sends under way. */
    endOf: async (sequence: number, how: "confirm" | Error) => {
      const at = sends.findIndex(({ message }) => message.id === `m${sequence}`);
      const [send] = sends.splice(at, 1);
      if (how === "confirm") send?.confirm();
      else send?.fail(how);
      await setImmediate();
    },
    /** All at once, as a connection that is lost does. */
    loseAll: async () => {
      for (const send of sends.splice(0)) send.fail(lost());
      await setImmediate();
    },
    hold: (now: boolean) => {
      held = now;
    },
    /** Ends the send under way and lets everything that follows from it happen. */
    end: async (how: "confirm" | Error) => {
      const send = sends.shift();
      if (!send) throw new Error("nothing is being sent");
      if (how === "confirm") send.confirm();
      else send.fail(how);
      await setImmediate();
    },
    clock: clock as ManualClock,
    /** Sequences of the sends under way. */
    get sent() {
      return sends.map(({ message }) => Number(message.id.slice(1)));
    },
    get underWay() {
      return sends.length;
    },
  };
}
export const lost = () => new TransientError("HUB_LOST", "gone");
export const refused = () => new PermanentError("HUB_REJECTED", "too large");
