import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import { DeadLetters } from "../../src/outbox/dead-letters.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import { plain } from "../support/hub-message.ts";

function letters() {
  const database = openDatabase(":memory:");
  database.exec(DeadLetters.schema);
  return new DeadLetters(database);
}
const message = (sequence: number, body: Uint8Array, contentEncoding = "utf-8") =>
  ({ ...plain, sequence, id: `m${sequence}`, body, contentEncoding }) as OutboxMessage;
const large = 100_000_000;

test("a letter larger than all may be together is kept without its body, and takes nobody's place", () => {
  const dead = letters();
  dead.add(message(1, Buffer.from("one")), "first", 0, 1_000);
  dead.add(message(2, Buffer.alloc(1_001, "x")), "second", 0, 1_000);
  dead.add(message(3, Buffer.from("three")), "third", 0, 1_000);
  expect(dead.list().map(({ reason, body }) => [reason, body])).toEqual([
    ["first", "one"],
    ["second", undefined],
    ["third", "three"],
  ]);
});

test("an answer is bounded however well its letters were compressed; the last ones are shown", () => {
  const dead = letters();
  const body = gzipSync(Buffer.alloc(3_000_000, "x"));
  for (let i = 1; i <= 5; i++) dead.add(message(i, body, "gzip"), "too large", 0, large);
  expect(dead.list().map((letter) => letter.body?.length)).toEqual([
    undefined,
    undefined,
    undefined,
    3_000_000,
    3_000_000,
  ]);
});

test("a letter that cannot be decompressed keeps none of the others from being shown", () => {
  const dead = letters();
  dead.add(message(1, Buffer.from("no gzip"), "gzip"), "first", 0, large);
  dead.add(message(2, Buffer.from("two")), "second", 0, large);
  expect(dead.list().map((letter) => letter.body)).toEqual([undefined, "two"]);
});
