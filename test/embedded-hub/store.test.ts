import { expect, test } from "vitest";
import type { HubMessage } from "../../src/embedded-hub/messages.ts";
import { EndpointStore, expiresAt } from "../../src/embedded-hub/store.ts";

function message(text: string): HubMessage {
  const body = Buffer.from(text);
  return {
    deviceId: "d",
    moduleId: undefined,
    output: undefined,
    systemProperties: {},
    properties: {},
    body,
  };
}

function storeOf(maxMessages: number, maxBytes = 1_000_000) {
  const discarded: string[] = [];
  const store = new EndpointStore<HubMessage>({ maxMessages, maxBytes }, ({ body }, reason) =>
    discarded.push(`${body} ${reason}`),
  );
  const drain = (nowMs: number) => {
    const taken: string[] = [];
    for (let next = store.take(nowMs); next !== undefined; next = store.take(nowMs)) {
      taken.push(next.message.body.toString());
    }
    return taken;
  };
  return { store, discarded, drain };
}

const never = Number.POSITIVE_INFINITY;

test("higher priorities come first, in order within one", () => {
  const { store, drain } = storeOf(10);
  for (const [text, priority] of [
    ["a", 9],
    ["b", 0],
    ["c", 9],
    ["d", 0],
  ] as const) {
    store.add(message(text), priority, never, 0);
  }
  expect(store.size).toBe(4);
  expect(drain(0)).toEqual(["b", "d", "a", "c"]);
  expect([store.size, store.bytes]).toEqual([0, 0]);
});

test("what has expired is discarded when it is fetched", () => {
  const { store, discarded, drain } = storeOf(10);
  store.add(message("a"), 1, 100, 0);
  store.add(message("b"), 1, 200, 0);
  expect(drain(100)).toEqual(["b"]);
  expect(discarded).toEqual(["a expired"]);
});

test("a full store refuses the newest, after dropping what has expired", () => {
  const { store, discarded, drain } = storeOf(2);
  expect(store.add(message("a"), 1, 100, 0)).toBe(true);
  expect(store.add(message("b"), 1, never, 0)).toBe(true);
  expect(store.add(message("c"), 1, never, 50)).toBe(false);
  expect(store.add(message("d"), 1, never, 100)).toBe(true);
  expect(discarded).toEqual(["c full", "a expired"]);
  expect(drain(100)).toEqual(["b", "d"]);
});

test("bytes are bounded too", () => {
  const { store, discarded } = storeOf(100, 1_000);
  expect(store.add(message("x".repeat(700)), 1, never, 0)).toBe(true);
  expect(store.add(message("y".repeat(700)), 1, never, 0)).toBe(false);
  expect(discarded).toHaveLength(1);
});

test("a route's time to live: 0 inherits, negative never expires", () => {
  expect(expiresAt(1_000, 5, 7_200)).toBe(6_000);
  expect(expiresAt(1_000, 0, 7_200)).toBe(7_201_000);
  expect(expiresAt(1_000, 0, 0)).toBe(1_000);
  expect(expiresAt(1_000, 0, -1)).toBe(never);
  expect(expiresAt(1_000, -1, 7_200)).toBe(never);
});
