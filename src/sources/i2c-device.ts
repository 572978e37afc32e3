import { addressOf } from "../config/i2c-address.ts";
import type { I2cSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { i2cDriverNamed } from "../drivers/catalogue.ts";
import { type Conversation, type I2cDriver, WrongChip } from "../drivers/driver.ts";
import { I2cChip } from "./i2c-chip.ts";
import type { PolledDevice } from "./polling-source.ts";
import type { Turns } from "./turns.ts";
import { Unavailable } from "./unavailable.ts";

const nothing = new Uint8Array();

/** A chip on I2C: holds the conversations that its driver describes. */
export class I2cDevice implements PolledDevice {
  readonly name: string;
  readonly maxFrameBytes = 256;
  readonly #driver: I2cDriver;
  readonly #options: I2cSourceConfig["options"];
  readonly #chip: I2cChip;
  readonly #clock: Clock;
  #known: Uint8Array = nothing;
  /** When it last had something new, or was made ready. */
  #newestMs = 0;

  constructor({ driver, bus, address, options }: I2cSourceConfig, clock: Clock, turns: Turns) {
    const path = `/dev/i2c-${bus}`;
    const at = addressOf({ driver, address });
    this.name = `${driver} at 0x${at.toString(16).padStart(2, "0")} of ${path}`;
    this.#driver = i2cDriverNamed(driver);
    this.#options = options;
    this.#chip = new I2cChip(path, at, turns);
    this.#clock = clock;
  }

  async open(signal: AbortSignal): Promise<void> {
    await this.#chip.open();
    this.#known = await this.#hold(this.#driver.setup(this.#options), signal);
    this.#newestMs = this.#clock.monotonic();
  }

  async ask(signal: AbortSignal): Promise<Uint8Array | undefined> {
    const frame = await this.#hold(this.#driver.measure(this.#options, this.#known), signal);
    const nowMs = this.#clock.monotonic();
    const { longestGapMs = Number.POSITIVE_INFINITY } = this.#driver;
    if (frame) this.#newestMs = nowMs;
    else if (nowMs - this.#newestMs > longestGapMs)
      throw new Unavailable("I2C_UNAVAILABLE", "failed", `has measured nothing for ${longestGapMs} ms`);
    return frame;
  }

  close(): Promise<void> {
    return this.#chip.close();
  }

  async #hold<Result>(conversation: Conversation<Result>, signal: AbortSignal): Promise<Result> {
    try {
      let step = conversation.next();
      while (!step.done) {
        if ("waitMs" in step.value) {
          // A timer counts whole milliseconds of the clock: of the first one nothing may be left.
          await this.#clock.sleep(Math.ceil(step.value.waitMs) + 1, signal);
          step = conversation.next(nothing);
        } else step = conversation.next(await this.#chip.transfer(step.value, signal));
      }
      return step.value;
    } catch (error) {
      if (!(error instanceof WrongChip)) throw error;
      throw new Unavailable(error.code, "failed", `another chip answers: ${error.message}`, { cause: error });
    }
  }
}
