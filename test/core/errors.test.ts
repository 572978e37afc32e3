import { expect, test } from "vitest";
import { storeError } from "../../src/core/database.ts";
import {
  ConfigError,
  HeadgateError,
  InvariantError,
  messageOf,
  PermanentError,
  TransientError,
} from "../../src/core/errors.ts";

test("an error says its class and its code, and keeps its cause", () => {
  const cause = new Error("below");
  const error = new TransientError("HUB_LOST", "gone", { cause });
  expect([error.name, error.code, error.cause]).toEqual(["TransientError", "HUB_LOST", cause]);
  expect(error).toBeInstanceOf(HeadgateError);
  expect(new InvariantError("x").code).toBe("INVARIANT");
});

test("an error of the configuration carries every problem", () => {
  const error = new ConfigError("CONFIG_INVALID", [
    { path: "a.b", message: "is wrong" },
    { path: "", message: "is odd" },
  ]);
  expect(error.problems).toHaveLength(2);
  expect(error.message).toContain("a.b");
});

test("what is no error has a message, too", () => {
  expect([messageOf(new Error("x")), messageOf("y"), messageOf(undefined)]).toEqual(["x", "y", "undefined"]);
});

test("a system's failure of the store can be repeated; an error of ours and a bug stay what they are", () => {
  const ours = new PermanentError("STORE_CORRUPT", "x");
  const bug = new TypeError("x");
  expect(storeError("doing", ours)).toBe(ours);
  expect(storeError("doing", bug)).toBe(bug);
  const full = Object.assign(new Error("no space"), { code: "ENOSPC" });
  expect(storeError("doing", full)).toMatchObject({
    name: "TransientError",
    code: "STORE_UNUSABLE",
    cause: full,
  });
});
