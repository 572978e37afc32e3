/** What an entry of `models` needs, and what contradicts itself. */
import { describe, expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { good, paths } from "./problems.ts";

const score: JsonObject = { protocol: "score", url: "http://127.0.0.1:5001/score" };
const v2: JsonObject = { protocol: "v2", url: "https://triton:8000", model: "resnet" };
const sha256 = "0".repeat(64);
const wrongPaths = (model: JsonObject) => paths({ models: { m: model } });

test.each<[string, JsonObject, string[]]>([
  ["a file", { file: "m.onnx" }, []],
  ["a url with its hash", { url: "http://a/m.onnx", sha256 }, []],
  ["a url without a hash", { url: "http://a/m.onnx" }, ["sha256"]],
  ["nothing", {}, ["file"]],
  ["nothing, switched off", { state: "off" }, []],
  ["a file and a url", { file: "m", url: "http://a/m", sha256 }, ["url"]],
  ["a scoring container", { remote: score }, []],
  ["a server of V2", { remote: v2 }, []],
  ["a scorer and a file", { remote: score, file: "m" }, ["remote"]],
  ["all three", { remote: score, file: "m", url: "http://a/m", sha256 }, ["remote", "sha256", "url"]],
  ["a hash of a scorer", { remote: v2, sha256 }, ["sha256"]],
  ["threads of a scorer", { remote: v2, threads: 2 }, ["threads"]],
])("%s", (_, model, wrong) => {
  expect(wrongPaths(model)).toEqual(wrong.map((key) => `models.m.${key}`));
});

describe("a scorer", () => {
  test("of images takes those of ResNet50 unless it is told otherwise", () => {
    const { config } = checkConfig({ ...good, models: { m: { remote: score } } });
    expect(config.models.m?.remote).toMatchObject({ size: { width: 224, height: 224 } });
  });

  test.each<[string, JsonObject, string]>([
    ["a protocol that is not spoken", { ...v2, protocol: "grpc" }, "protocol"],
    ["no protocol", { url: "http://a/score" }, "protocol"],
    ["a password in the url", { ...score, url: "http://user:pw@a/score" }, "url"],
    ["no address", { ...score, url: "http://[::1/score" }, "url"],
    ["another scheme", { ...score, url: "ftp://a/score" }, "url"],
    ["no model there", { protocol: "v2", url: "http://a" }, "model"],
    ["a size where the metadata tell it", { ...v2, size: { width: 32 } }, "size"],
    ["a token that stands there", { ...score, token: "secret" }, "token"],
  ])("%s is refused with its path", (_, remote, key) => {
    expect(wrongPaths({ remote })).toEqual([`models.m.remote.${key}`]);
  });
});
