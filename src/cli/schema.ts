import { configJsonSchema } from "../config/json-schema.ts";

/** `headgate schema`: the JSON Schema that editors and twin tools can use. */
export function schema(): void {
  process.stdout.write(`${JSON.stringify(configJsonSchema(), null, 2)}\n`);
}
