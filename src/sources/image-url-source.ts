import type { ImageUrlSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import type { RaisedAlarm } from "../detect/raised-alarms.ts";
import { type Asked, type PolledDevice, PollingSource } from "./polling-source.ts";
import type { WaitingSink } from "./source.ts";

/** A camera that is asked at its interval, when a condition of another device begins, and when somebody asks for it. */
export class ImageUrlSource extends PollingSource {
  readonly #config: ImageUrlSourceConfig;

  constructor(device: PolledDevice, config: ImageUrlSourceConfig, sink: WaitingSink, clock: Clock) {
    super(device, config.intervalMs, sink, clock);
    this.#config = config;
  }

  raised(alarm: RaisedAlarm): void {
    const { when, minSpacingMs } = this.#config;
    if (when && isMeant(when, alarm)) this.want(minSpacingMs);
  }

  async takePicture(): Promise<Asked> {
    return await this.asked(this.#config.minSpacingMs);
  }
}

function isMeant(when: NonNullable<ImageUrlSourceConfig["when"]>, alarm: RaisedAlarm): boolean {
  if (alarm.to === "good" || (when.alarm !== "any" && when.alarm !== alarm.to)) return false;
  const isOf = (key: "device" | "source" | "channel") => when[key] === undefined || when[key] === alarm[key];
  return isOf("device") && isOf("source") && isOf("channel");
}
