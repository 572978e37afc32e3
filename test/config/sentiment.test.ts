/** The section of the sentiment container, and what a twin may do with its key. */
import { expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
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
