import { expect, test } from "vitest";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { TwinDocument } from "../../src/hub/hub-client.ts";
import { Desired } from "../../src/twin/desired.ts";
import { recordingLog } from "../core/recording-log.ts";
import { until } from "../support/until.ts";

function running() {
  const applied: [number | undefined, JsonObject][] = [];
  const answers: [number | undefined, number, string][] = [];
  let refreshes = 0;
  let twin: TwinDocument | Error = new Error("no connection");
  let refuse: ((desired: JsonObject) => Error | undefined) | undefined;
  const desired = new Desired({
    apply: async (layer, version) => {
      const error = refuse?.(layer);
      if (error) throw error;
      applied.push([version, layer]);
    },
    answered: (version, { code, path }) => answers.push([version, code, path]),
    refresh: async () => {
      refreshes++;
      if (twin instanceof Error) throw twin;
      return twin;
    },
    log: recordingLog(),
  });
  return {
    desired,
    applied,
    answers,
    full: async (version: number | undefined, layer: JsonObject) => {
      desired.full({ desired: layer, desiredVersion: version, reported: {} });
      await desired.settled();
    },
    patch: async (version: number | undefined, patch: JsonObject) => {
      desired.patch({ version, patch });
      await desired.settled();
      await desired.settled();
    },
    twinIs: (document: TwinDocument | Error) => {
      twin = document;
    },
    refuse: (how: typeof refuse) => {
      refuse = how;
    },
    get refreshes() {
      return refreshes;
    },
  };
}

test("the full twin is applied and answered, and again only when its version changed", async () => {
  const r = running();
  await r.full(3, { a: 1 });
  r.desired.connecting();
  await r.full(3, { a: 1 });
  r.desired.connecting();
  await r.full(9, { a: 2 });
  expect(r.applied).toEqual([
    [3, { a: 1 }],
    [9, { a: 2 }],
  ]);
  expect(r.answers).toEqual([
    [3, 200, ""],
    [9, 200, ""],
  ]);
});

test("a patch merges into what is there: objects merge, null deletes, an array is replaced", async () => {
  const r = running();
  await r.full(1, { a: { x: 1, y: [1, 2, 3] }, b: { z: 1 }, c: 5 });
  await r.patch(2, { a: { y: [9] }, b: null, d: { e: {} } });
  await r.patch(3, { a: { x: null }, c: { now: "object" } });
  expect(r.applied.slice(1)).toEqual([
    [2, { a: { x: 1, y: [9] }, c: 5, d: { e: {} } }],
    [3, { a: { y: [9] }, c: { now: "object" }, d: { e: {} } }],
  ]);
});

test("patches before the full twin wait for it; what it holds already is not applied twice", async () => {
  const r = running();
  r.desired.connecting();
  await r.patch(5, { a: 5 });
  await r.patch(6, { b: 6 });
  expect(r.applied).toEqual([]);
  await r.full(5, { a: 5 });
  await r.desired.settled();
  expect(r.applied).toEqual([
    [5, { a: 5 }],
    [6, { a: 5, b: 6 }],
  ]);
  expect(r.refreshes).toBe(0);
});

test("patches of a connection that broke before its full twin came are forgotten", async () => {
  const r = running();
  await r.full(1, {});
  r.desired.connecting();
  await r.patch(2, { a: 1 });
  r.desired.connecting();
  await r.full(4, { b: 1 });
  expect(r.applied.slice(1)).toEqual([[4, { b: 1 }]]);
});

test("a gap in the versions gets the whole twin again", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  r.twinIs({ desired: { a: 3, b: 3 }, desiredVersion: 4, reported: {} });
  await r.patch(4, { b: 3 });
  expect(r.refreshes).toBe(1);
  expect(r.applied.at(-1)).toEqual([4, { a: 3, b: 3 }]);
  await r.patch(5, { c: 5 });
  expect(r.applied.at(-1)).toEqual([5, { a: 3, b: 3, c: 5 }]);
});

test("a patch without a version gets the whole twin again", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  r.twinIs({ desired: { a: 2 }, desiredVersion: 2, reported: {} });
  await r.patch(undefined, { a: 2 });
  expect(r.applied.at(-1)).toEqual([2, { a: 2 }]);
});

test("a patch that came before is not applied again", async () => {
  const r = running();
  await r.full(5, { a: 1 });
  await r.patch(5, { a: 2 });
  await r.patch(4, { a: 3 });
  expect([r.applied.length, r.refreshes]).toEqual([1, 0]);
});

test("a refresh that fails leaves everything; the next connection brings the twin", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  await r.patch(3, { a: 3 });
  expect(r.applied).toHaveLength(1);
  r.desired.connecting();
  await r.full(3, { a: 3 });
  expect(r.applied.at(-1)).toEqual([3, { a: 3 }]);
});

test("a twin without a version is no wish to forget everything", async () => {
  const r = running();
  await r.full(2, { a: 1 });
  r.desired.connecting();
  await r.full(undefined, {});
  expect([r.applied.length, r.answers.length]).toEqual([1, 1]);
  await r.patch(3, { b: 1 });
  expect(r.applied.at(-1)).toEqual([3, { a: 1, b: 1 }]);
});

test("a refused configuration is answered 400 with the path of its first problem", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  r.refuse(() => new ConfigError("CONFIG_INVALID", [{ path: "sources.oven.baudRate", message: "no" }]));
  await r.patch(2, { b: 1 });
  expect(r.answers.at(-1)).toEqual([2, 400, "sources.oven.baudRate"]);
  expect(r.applied).toHaveLength(1);
});

test("after a refusal the next patch builds on what the twin holds, not on what runs", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  r.refuse((layer) =>
    "bad" in layer ? new ConfigError("CONFIG_INVALID", [{ path: "bad", message: "no" }]) : undefined,
  );
  await r.patch(2, { bad: 1, b: 1 });
  await r.patch(3, { bad: null });
  expect(r.answers).toEqual([
    [1, 200, ""],
    [2, 400, "bad"],
    [3, 200, ""],
  ]);
  expect(r.applied.at(-1)).toEqual([3, { a: 1, b: 1 }]);
});

test("a failure of our own is answered 500", async () => {
  const r = running();
  r.refuse(() => new Error("a bug"));
  await r.full(1, {});
  expect(r.answers).toEqual([[1, 500, ""]]);
});

test("a configuration that failed by a failure of our own is tried again with the next connection; a refused one is not", async () => {
  const r = running();
  r.refuse(() => new ConfigError("CONFIG_INVALID", [{ path: "bad", message: "no" }]));
  await r.full(1, { bad: 1 });
  r.refuse(undefined);
  r.desired.connecting();
  await r.full(1, { bad: 1 });
  expect(r.applied).toEqual([]);
  r.refuse(() => new Error("the disk is full"));
  await r.full(2, { a: 1 });
  r.refuse(undefined);
  r.desired.connecting();
  await r.full(2, { a: 1 });
  expect(r.applied).toEqual([[2, { a: 1 }]]);
  expect(r.answers.map(([version, code]) => [version, code])).toEqual([
    [1, 400],
    [2, 500],
    [2, 200],
  ]);
});

test("an answer is never longer than a twin's string may be", async () => {
  const r = running();
  let description = "";
  const desired = new Desired({
    apply: async () => {
      throw new ConfigError("CONFIG_INVALID", [{ path: "x".repeat(9_000), message: "y".repeat(9_000) }]);
    },
    answered: (_, status) => {
      description = status.description + status.path;
    },
    refresh: async () => ({ desired: {}, desiredVersion: 1, reported: {} }),
    log: recordingLog(),
  });
  desired.full({ desired: {}, desiredVersion: 1, reported: {} });
  await desired.settled();
  expect(description.length).toBeLessThanOrEqual(2_000);
  expect(description.length).toBeGreaterThan(100);
  expect(r.answers).toEqual([]);
});

test("versions are applied one after the other, in order, however long each takes", async () => {
  const order: string[] = [];
  const gates: (() => void)[] = [];
  const desired = new Desired({
    apply: async (_, version) => {
      order.push(`begin ${version}`);
      await new Promise<void>((resolve) => gates.push(resolve));
      order.push(`end ${version}`);
    },
    answered: (version) => order.push(`answer ${version}`),
    refresh: async () => ({ desired: {}, desiredVersion: 1, reported: {} }),
    log: recordingLog(),
  });
  desired.full({ desired: {}, desiredVersion: 1, reported: {} });
  desired.patch({ version: 2, patch: { a: 1 } });
  const settled = desired.settled();
  while (order.length < 6) {
    await Promise.resolve();
    gates.shift()?.();
  }
  await settled;
  expect(order).toEqual(["begin 1", "end 1", "answer 1", "begin 2", "end 2", "answer 2"]);
});

/** A twin whose versions are applied only as the test lets them. */
function gated() {
  const begun: (number | undefined)[] = [];
  const answered: (number | undefined)[] = [];
  const gates: (() => void)[] = [];
  const desired = new Desired({
    apply: async (_, version) => {
      begun.push(version);
      await new Promise<void>((resolve) => gates.push(resolve));
    },
    answered: (version) => answered.push(version),
    refresh: async () => ({ desired: { refreshed: true }, desiredVersion: 99, reported: {} }),
    log: recordingLog(),
  });
  return { desired, begun, answered, open: () => gates.shift()?.() };
}

test("after a stop nothing is applied: what is under way is done, what waits is not begun", async () => {
  const { desired, begun, answered, open } = gated();
  desired.full({ desired: {}, desiredVersion: 1, reported: {} });
  desired.patch({ version: 2, patch: { a: 1 } });
  desired.patch({ version: 9, patch: { b: 1 } });
  while (begun.length === 0) await Promise.resolve();
  const stopped = desired.stop();
  open();
  await stopped;
  expect([begun, answered]).toEqual([[1], [1]]);
  desired.patch({ version: 2, patch: { a: 1 } });
  desired.connecting();
  desired.full({ desired: { a: 2 }, desiredVersion: 3, reported: {} });
  await desired.stop();
  expect([begun, answered]).toEqual([[1], [1]]);
});

test("a burst of patches behind a gap in the versions gets the whole twin once", async () => {
  const r = running();
  await r.full(1, { a: 1 });
  r.twinIs({ desired: { a: 1, b: 5, c: 6 }, desiredVersion: 6, reported: {} });
  for (const version of [4, 5, 6]) r.desired.patch({ version, patch: { [`p${version}`]: 1 } });
  r.desired.patch({ version: 7, patch: { d: 7 } });
  await r.desired.settled();
  expect(r.refreshes).toBe(1);
  expect(r.applied.slice(1)).toEqual([
    [6, { a: 1, b: 5, c: 6 }],
    [7, { a: 1, b: 5, c: 6, d: 7 }],
  ]);
});

test("what waits of the hub before is not applied any more, and another hub's twin is, also with the same version", async () => {
  const applied: JsonObject[] = [];
  let release: () => void = () => undefined;
  const desired = new Desired({
    apply: async (layer) => {
      applied.push(layer);
      if (applied.length === 1) {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
    },
    answered: () => undefined,
    refresh: () => Promise.reject(new Error("no connection")),
    log: recordingLog(),
  });
  const full = (name: string, version: number) =>
    desired.full({ desired: { name }, desiredVersion: version, reported: {} });
  full("old", 1);
  full("old, later", 2);
  await until("the first is under way", () => applied.length === 1);
  desired.forget();
  release();
  await desired.settled();
  full("other", 1);
  await desired.settled();
  expect(applied).toEqual([{ name: "old" }, { name: "other" }]);
});
