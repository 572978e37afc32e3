import { z } from "zod";
import { oneWireDrivers } from "../drivers/catalogue.ts";
import { polledCommon } from "./any-source-schema.ts";
import { channelName, day, ms } from "./field-schema.ts";

const folder = z.string().min(1).max(4_096);
const families = oneWireDrivers.map(({ family }) => family).join("|");

export const oneWireSource = z
  .strictObject({
    ...polledCommon,
    type: z.literal("oneWire"),
    id: z
      .string()
      .regex(
        new RegExp(`^(${families})-[0-9a-f]{12}$`),
        "must be the id of a thermometer, such as 28-0316a2795f3d",
      )
      .describe("As its folder in `root` is named; the first two digits say what chip it is"),
    root: folder.default("/sys/bus/w1/devices").describe("Where the kernel shows what is on 1-Wire"),
    intervalMs: ms(100, day)
      .default(10_000)
      .describe(
        "How often it is asked; with 12 bits one answer takes 750 ms, in which its bus does nothing else",
      ),
  })
  .describe("A thermometer on 1-Wire, by the kernel's driver w1_therm");

const sysfsFile = z
  .strictObject({
    path: z
      .string()
      .max(128)
      .regex(
        /^[A-Za-z0-9_][A-Za-z0-9_.:,+-]*(\/[A-Za-z0-9_][A-Za-z0-9_.:,+-]*)*$/,
        "must be a file in the chip's folder, such as temp1_input",
      )
      .describe("File in the chip's folder, such as `temp1_input` or `in_temp_raw`"),
    scale: z
      .number()
      .optional()
      .describe(
        "value = number × scale + offset; default: what the kernel documents for files of this name, and for a `_raw` what the files `_offset` and `_scale` beside it say",
      ),
    offset: z.number().default(0),
    unit: z.string().max(32).optional().describe("Default: the kernel's for files of this name, such as °C"),
    min: z.number().optional().describe("Below it a value has quality `bad`"),
    max: z.number().optional().describe("Above it a value has quality `bad`"),
  })
  .refine((r) => r.min === undefined || r.max === undefined || r.min <= r.max, "min must not exceed max");

const mostFiles = 64;

export const sysfsFiles = z
  .record(channelName, sysfsFile)
  .refine((files) => Object.keys(files).length > 0, "must name a file")
  .refine((files) => Object.keys(files).length <= mostFiles, `must be ${mostFiles} files at most`)
  .describe("Files by the channel that their number becomes");

const oneName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[^/\p{C}]+$/u, "must be a name without /");

export const sysfsSource = z
  .strictObject({
    ...polledCommon,
    type: z.literal("sysfs"),
    class: z
      .enum(["hwmon", "iio"])
      .default("hwmon")
      .describe("Which of the kernel's interfaces the chip is in"),
    root: folder
      .optional()
      .describe(
        "Default: `/sys/class/hwmon` or `/sys/bus/iio/devices`; without `chip` the folder of the files",
      ),
    chip: oneName
      .optional()
      .describe(
        "What the chip's file `name` says; the numbers in `hwmon3` and `iio:device0` change between boots",
      ),
    at: oneName
      .optional()
      .describe("The device that it belongs to, such as `1-0048`, where several chips have one name"),
    files: sysfsFiles,
  })
  .describe("A chip that a driver of the kernel reads, in files of hwmon or IIO");
