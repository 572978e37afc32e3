import type { ModbusDecode } from "../config/schema.ts";
import { recordsOf, valueIn } from "../drivers/modbus.ts";
import type { FrameFields } from "./reading-reader.ts";

/**
 * The channels of a poll's answers, in the order of the configuration. A register that no answer holds, such as one
 * that the device refused, has no value.
 */
export function compileModbus({ registers }: ModbusDecode): (frame: Uint8Array) => FrameFields {
  const channels = Object.entries(registers);
  return (frame) => {
    const records = recordsOf(frame);
    if ("discard" in records) return records;
    const fields: [string, number | bigint | string][] = [];
    for (const [channel, register] of channels) {
      for (const record of records) {
        const value = valueIn(record, register);
        if (value === undefined) continue;
        fields.push([channel, value]);
        break;
      }
    }
    return [fields];
  };
}
