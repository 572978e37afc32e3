/** The section of the sentiment container, and what a twin may do with its key. */
import { expect, test } from "vitest";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import { forbiddenInSentiment } from "../../src/config/twin-secrets.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { box } from "./box.ts";

const local = { url: "https://texts.cognitiveservices.azure.com", key: { file: "/run/secrets/language" } };
const store = "/data";
const forbidden = (twin: JsonObject, base: JsonObject = { sentiment: local }) =>
  forbiddenInSentiment({ sentiment: twin }, base, store).map(({ path }) => path);

test("a twin cannot lead the file's key to another place, nor name one that is not meant for it", () => {
  expect(forbidden({ url: "http://elsewhere" })).toEqual(["sentiment.key"]);
  expect(forbidden({ key: { file: "/etc/shadow" } })).toEqual(["sentiment.key"]);
  expect(forbidden({ url: "http://elsewhere", key: { env: "PATH" } }, {})).toEqual(["sentiment.key"]);
});

test("it may change the rest, and name a key that is meant for twins", () => {
  expect(forbidden({ language: "de", timeoutMs: 5_000 })).toEqual([]);
  expect(forbidden({ url: "http://elsewhere" }, {})).toEqual([]);
  expect(forbidden({ url: "http://elsewhere", key: { env: "HEADGATE_SECRET_TEXTS" } })).toEqual([]);
  expect(forbidden({ url: "http://elsewhere", key: null as never })).toEqual([]);
  expect(forbiddenInSentiment({}, { sentiment: local }, store)).toEqual([]);
});

test("the whole configuration refuses such a twin, with the path", () => {
  const running = box({ sentiment: local }).run(0);
  expect(() => running.candidate({ sentiment: { url: "http://elsewhere" } })).toThrow(ConfigError);
  expect(running.candidate({ sentiment: { language: "de" } }).config.sentiment).toMatchObject({
    ...local,
    language: "de",
  });
});

test.each([
  ["ftp://sentiment:5000"],
  ["http://user:pass@sentiment"],
  ["http://sentiment:5000/?key=1"],
  ["sentiment:5000"],
])("%s is no url of a container", (url) => {
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sentiment: { url } };
  expect(() => checkConfig(config)).toThrow(/sentiment\.url/);
});

const kiosk = { type: "http", decode: { format: "json" }, device: { field: "id" } };
const check = (sections: JsonObject) =>
  checkConfig({ gateway: { name: "box" }, hub: { type: "edge" }, sentiment: local, ...sections });
const problems = (sections: JsonObject) => {
  try {
    check(sections);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(({ path }) => path);
    throw error;
  }
};

test("a source of type sentiment needs a container, and a source that brings texts", () => {
  const mood = { type: "sentiment", from: { source: "kiosk", field: "say" } };
  expect(problems({ sources: { kiosk, mood } })).toEqual([]);
  expect(problems({ sources: { kiosk, mood }, sentiment: {} })).toEqual(["sources.mood.type"]);
  expect(problems({ sources: { kiosk, mood }, sentiment: { ...local, state: "off" } })).toEqual([
    "sources.mood.type",
  ]);
  const from = ["sources.mood.from.source"];
  expect(problems({ sources: { mood } })).toEqual(from);
  expect(problems({ sources: { mood, kiosk: { ...kiosk, state: "off" } } })).toEqual(from);
  expect(problems({ sources: { mood, kiosk: { type: "sentiment" } } })).toEqual(from);
  expect(problems({ sources: { mood, kiosk: { ...kiosk, decode: { format: "nmea" } } } })).toEqual(from);
  expect(problems({ sources: { mood: { ...mood, state: "off" } }, sentiment: {} })).toEqual([]);
});

test("the pipeline is told the fields that hold texts, and bounds that fit into the store", () => {
  const sources = {
    kiosk,
    mood: { type: "sentiment", from: { source: "kiosk", field: "say" }, maxBytes: 1_000_000 },
    again: { type: "sentiment", from: { source: "kiosk", field: "say" } },
    off: { type: "sentiment", from: { source: "kiosk", field: "other" }, state: "off" },
  };
  const { sources: told } = pipelineConfig(check({ sources, store: { maxBytes: 4_194_304 } }));
  expect(told.kiosk?.texts).toEqual(["say"]);
  expect(told.mood).toMatchObject({
    device: { field: "device" },
    decode: { format: "json", ignore: ["time"] },
    sentiment: {
      from: { source: "kiosk", field: "say" },
      device: "texts",
      maxTexts: 10_000,
      maxBytes: 524_288,
      storeBytes: 524_288,
    },
  });
  expect(told.mood).not.toHaveProperty("texts");
  expect(told.off).toBeUndefined();
  const decode = { format: "json", time: { field: "at" } };
  const own = pipelineConfig(check({ sources: { ...sources, kiosk: { ...kiosk, decode } } }));
  expect(own.sources.mood?.decode).toMatchObject({ format: "json", time: { field: "time" } });
});
