/** Conversations of drivers with simulated chips, in simulated time: what waits is added up, and nobody waits. */
import { z } from "zod";
import type { Conversation, Driver, I2cDriver } from "../../src/drivers/driver.ts";
import type { Chip } from "../support/i2c/simulated-bus.ts";

/** Options as the configuration gives them. */
export function optionsOf(driver: Driver, given: object = {}): Readonly<Record<string, unknown>> {
  return z.strictObject(driver.options?.(z) ?? {}).parse(given);
}

/** Time that passes in conversations only. */
export class ConversationTime {
  nowMs = 0;
  readonly now = (): number => this.nowMs;
}

/** Far more than any driver needs. */
const mostSteps = 500;

/** Holds a conversation. @throws NotAcknowledged, WrongChip, or that it does not end */
export function hold<Result>(conversation: Conversation<Result>, chip: Chip, time: ConversationTime): Result {
  let step = conversation.next();
  for (let i = 0; !step.done; i++) {
    if (i > mostSteps) throw new Error(`no end after ${mostSteps} steps`);
    const { value } = step;
    let answer: Uint8Array = new Uint8Array();
    if ("waitMs" in value) time.nowMs += value.waitMs;
    else {
      // Some tenths of a millisecond on the wire.
      time.nowMs += 0.2;
      if (value.write) chip.write(Buffer.from(value.write));
      if (value.read !== undefined) answer = chip.read(value.read);
    }
    step = conversation.next(answer);
  }
  return step.value;
}

/** A driver and its chip: `ready` sets the chip up, `ask` measures once. */
export class Pair<C extends Chip> {
  readonly chip: C;
  readonly time: ConversationTime;
  readonly #driver: I2cDriver;
  readonly options: Readonly<Record<string, unknown>>;
  #known: Uint8Array = new Uint8Array();

  constructor(driver: I2cDriver, chip: C, time: ConversationTime, options: object = {}) {
    this.#driver = driver;
    this.chip = chip;
    this.time = time;
    this.options = optionsOf(driver, options);
  }

  ready(): this {
    this.#known = hold(this.#driver.setup(this.options), this.chip, this.time);
    return this;
  }

  frame(): Uint8Array | undefined {
    return hold(this.#driver.measure(this.options, this.#known), this.chip, this.time);
  }

  /** The values of one measurement; undefined when there is nothing new. */
  ask(): Readonly<Record<string, number>> | { readonly discard: string } | undefined {
    const frame = this.frame();
    if (!frame) return undefined;
    const decoded = this.#driver.decode(frame, this.options);
    return "discard" in decoded ? decoded : Object.fromEntries(decoded);
  }
}
