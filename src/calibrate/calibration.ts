import type { PipelineConfig } from "../config/schema.ts";
import type { Reading } from "../core/reading.ts";

/** calibrated = value × slope + intercept, per device and channel; what has no entry passes unchanged. Pure. */
export type Calibrate = (reading: Reading) => Reading;

export function compileCalibration(entries: PipelineConfig["calibrate"]): Calibrate {
  const lines = new Map<string, Map<string, { slope: number; intercept: number }>>();
  for (const { device, channels } of Object.values(entries)) {
    const ofDevice = lines.get(device) ?? new Map();
    for (const [channel, { slope, intercept }] of Object.entries(channels))
      ofDevice.set(channel, { slope, intercept });
    lines.set(device, ofDevice);
  }
  return (reading) => {
    const ofDevice = lines.get(reading.device);
    if (!ofDevice) return reading;
    const values = reading.values.map((raw) => {
      const line = ofDevice.get(raw.channel);
      return line ? { channel: raw.channel, value: raw.value * line.slope + line.intercept } : raw;
    });
    return { device: reading.device, timeMs: reading.timeMs, values };
  };
}
