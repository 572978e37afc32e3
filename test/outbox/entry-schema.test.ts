import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { messageBody } from "../../src/outbox/entry-schema.ts";

const documentation = fileURLToPath(new URL("../../docs/message-formats.md", import.meta.url));

test("every message that the documentation shows is one, and it shows every kind", () => {
  const blocks = [...readFileSync(documentation, "utf8").matchAll(/```json\n([\s\S]*?)```/g)];
  const entries = blocks.flatMap(([, text = ""]) => messageBody.parse(JSON.parse(text)));
  const kinds = messageBody.element.options.map(({ shape }) => shape.kind.value);
  expect([...new Set(entries.map(({ kind }) => kind))].sort()).toEqual(kinds.sort());
});
