import { z } from "zod";
import { configSchema } from "./schema.ts";

/** JSON Schema (2020-12) of a configuration as it is written: members with a default may be left out. */
export function configJsonSchema(): object {
  return {
    $id: "headgate.schema.json",
    title: "Headgate configuration",
    ...z.toJSONSchema(configSchema, { io: "input" }),
  };
}
