import { z } from "zod";
import { oneWireDrivers } from "../drivers/catalogue.ts";
import { polledCommon } from "./any-source-schema.ts";
import { day, ms } from "./field-schema.ts";

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
