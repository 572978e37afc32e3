/** Which frames are worth an early commit; what becomes an alarm is told elsewhere. */
import { expect, test } from "vitest";
import { AlarmPeek } from "../src/alarm-peek.ts";
import { checkConfig, pipelineConfig } from "../src/config/check.ts";
import type { JsonObject } from "../src/core/json.ts";
import { jsonSource } from "./config/pipelines.ts";
import { ManualClock } from "./core/manual-clock.ts";

const broker = { type: "mqtt", url: "mqtt://b", topic: "#", decode: { format: "json" }, device: "m" };

/** Numbers sent by sources, one call each; the times at which a commit was hastened. */
function peeking(sections: JsonObject = {}) {
  const clock = new ManualClock();
  const hastened: number[] = [];
  const taken: string[] = [];
  let hasRoom = true;
  const target = {
    frame: (source: string, bytes: Uint8Array) => {
      if (hasRoom) taken.push(`${source} ${Buffer.from(bytes)}`);
      return hasRoom;
    },
    hasten: () => void hastened.push(clock.monotonic() - 1_000),
    discard: () => undefined,
    hasRoom: () => hasRoom,
    committed: () => Promise.resolve(),
  };
  const peek = new AlarmPeek(target, clock);
  const configure = (more: JsonObject = {}) => {
    const checked = checkConfig({
      gateway: { name: "box" },
      hub: { type: "edge" },
      sources: {
        s: jsonSource("s"),
        once: { ...broker, qos: 0, clientId: "a" },
        kept: { ...broker, qos: 1, clientId: "b" },
        web: { type: "http", decode: { format: "json" }, device: "w" },
      },
      calibrate: { c: { device: "s-1", channels: { t: { slope: 2 } } } },
      validate: { v: { channels: { t: { max: 50 } } } },
      ...sections,
      ...more,
    });
    peek.configure(pipelineConfig(checked), checked.config);
  };
  configure();
  const send = async (values: number | string, source = "s", passMs = 0) => {
    await clock.advance(passMs);
    const text = typeof values === "string" ? values : JSON.stringify({ t: values });
    return peek.frame(source, Buffer.from(text), "topic");
  };
  return { clock, send, hastened, taken, configure, fill: () => (hasRoom = false) };
}

test("a change of quality is, a value like the last one is not", async () => {
  const { send, hastened, taken } = peeking({ alarms: { minSpacingMs: 100 } });
  await send(1);
  expect(hastened).toEqual([]);
  await send(26, "s", 5_000);
  await send(99, "s", 5_000);
  await send(1, "s", 5_000);
  expect(hastened).toEqual([5_000, 15_000]);
  expect(taken).toHaveLength(4);
});

test("where nobody waits: serial lines and MQTT at QoS 0, and nothing when alarms are off", async () => {
  const { send, hastened, configure } = peeking();
  await send(99, "kept");
  await send(99, "web");
  await send(99, "unknown");
  expect(hastened).toEqual([]);
  await send(99, "once");
  await send(99, "s");
  expect(hastened).toEqual([0, 0]);
  configure({ alarms: { state: "off" } });
  await send(1, "s", 60_000);
  expect(hastened).toHaveLength(2);
});

test("what jitters is once per alarm that may be told, and many channels once a second together", async () => {
  const { send, hastened } = peeking();
  for (let i = 0; i < 200; i++) await send(i % 2 === 0 ? 1 : 99, "s", 100);
  expect(hastened).toHaveLength(2);
  const other = peeking();
  for (let i = 0; i < 40; i++) await other.send(JSON.stringify({ [`c${i}`]: 1, t: 1 }), "s", 100);
  for (let i = 0; i < 40; i++) await other.send(`[{"t":${i < 20 ? 99 : 1}}]`, "s", 100);
  expect(other.hastened).toHaveLength(1);
});

test("what came too soon after another is owed, and the next frame brings it", async () => {
  const sections = { sources: { s: jsonSource("s", { device: { field: "id" } }) } };
  const { send, hastened } = peeking(sections);
  await send('{"id":"a","t":99}');
  await send('{"id":"b","t":99}', "s", 500);
  expect(hastened).toEqual([0]);
  await send('{"id":"b","t":99}', "s", 500);
  await send('{"id":"b","t":99}', "s", 5_000);
  expect(hastened).toEqual([0, 1_000]);
});

test("a frame that is not taken, or that no stage can read, is not", async () => {
  const { send, hastened, taken, fill } = peeking();
  await send("?");
  await send("[".repeat(100_000));
  expect([hastened, taken.length]).toEqual([[], 2]);
  fill();
  expect(await send(99)).toBe(false);
  expect(hastened).toEqual([]);
});
