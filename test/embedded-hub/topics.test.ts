import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeBag,
  encodeBag,
  parseInboundTopic,
  readProperties,
  subscriptionKind,
  writeProperties,
} from "../../src/embedded-hub/topics.ts";

describe("property bags", () => {
  test("the bag of a module's message, as the Azure SDK writes it", () => {
    const topic =
      "devices/edge1/modules/filter/messages/events/%24.on=output1&%24.mid=id%201%2F2&%24.cid=c&%24.ct=application%2Fjson&%24.ce=utf-8&temp%20alert=a%2Fb%26c%3Dd%20%C3%A9&x=5/";
    const parsed = parseInboundTopic(topic);
    expect(parsed).toMatchObject({ kind: "telemetry", clientId: "edge1/filter" });
    expect(readProperties(parsed.kind === "telemetry" ? parsed.bag : "")).toEqual({
      output: "output1",
      system: {
        messageId: "id 1/2",
        correlationId: "c",
        contentType: "application/json",
        contentEncoding: "utf-8",
      },
      application: { "temp alert": "a/b&c=d é", x: "5" },
    });
  });

  test("only the first = separates, and a key without one is empty", () => {
    expect(decodeBag("a=b=c&flag&=x&&")).toEqual([
      ["a", "b=c"],
      ["flag", ""],
      ["", "x"],
    ]);
  });

  test("a property named __proto__ is a property", () => {
    const { application } = readProperties("__proto__=x&constructor=y");
    expect(Object.entries(application)).toEqual([
      ["__proto__", "x"],
      ["constructor", "y"],
    ]);
  });

  test("what is not percent-encoded text is refused", () => {
    expect(() => readProperties("a=%zz")).toThrow(expect.objectContaining({ name: "TopicError" }));
  });

  test("encoding and decoding a bag gives the same pairs", () => {
    const text = fc.string({ unit: "grapheme", minLength: 1 });
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text)), (pairs) => {
        const bag = encodeBag(pairs);
        expect(bag).not.toMatch(/[/+#!'()*]/);
        expect(decodeBag(bag)).toEqual(pairs);
      }),
    );
  });

  test("a delivered message names its source and leaves output and interface behind", () => {
    const properties = readProperties(
      "%24.on=o&%24.mid=1&%24.ifid=urn%3Ax&%24.ctime=2024-01-01T00%3A00%3A00Z&a=b",
    );
    expect(writeProperties(properties, { deviceId: "edge", moduleId: "source" })).toBe(
      "%24.cdid=edge&%24.cmid=source&%24.mid=1&%24.ctime=2024-01-01T00%3A00%3A00Z&a=b",
    );
  });
});

describe("topics of clients", () => {
  test.each([
    ["devices/d/messages/events", { kind: "telemetry", clientId: "d", bag: "" }],
    ["devices/d/messages/events/", { kind: "telemetry", clientId: "d", bag: "" }],
    ["devices/d/messages/events/a=1", { kind: "telemetry", clientId: "d", bag: "a=1" }],
    ["devices/d/messages/events/a=%2F/", { kind: "telemetry", clientId: "d", bag: "a=%2F" }],
    ["devices/d/modules/m/messages/events/", { kind: "telemetry", clientId: "d/m", bag: "" }],
    ["$iothub/twin/GET/?$rid=abc", { kind: "twinGet", requestId: "abc" }],
    ["$iothub/twin/PATCH/properties/reported/?$rid=1&x=2", { kind: "twinReported", requestId: "1" }],
    ["$iothub/methods/res/200/?$rid=9", { kind: "methodResponse", status: 200, requestId: "9" }],
    ["$iothub/twin/GET", { kind: "unknown" }],
    ["devices/d/messages/eventsX", { kind: "unknown" }],
    ["elsewhere", { kind: "unknown" }],
  ])("%s", (topic, expected) => {
    expect(parseInboundTopic(topic)).toEqual(expected);
  });

  test.each([
    ["$iothub/twin/res/#", "d/m", "twinAnswers"],
    ["$iothub/twin/PATCH/properties/desired/#", "d/m", "desired"],
    ["$iothub/methods/POST/#", "d", "methods"],
    ["devices/d/modules/m/inputs/#", "d/m", "inputs"],
    ["devices/d/modules/m/#", "d/m", "inputs"],
    ["devices/d/messages/devicebound/#", "d", "deviceBound"],
    ["devices/other/messages/devicebound/#", "d", undefined],
    ["devices/d/modules/other/inputs/#", "d/m", undefined],
    ["devices/d/modules/m/inputs/#", "d", undefined],
    ["#", "d/m", undefined],
    ["$iothub/#", "d/m", undefined],
    ["devices/#", "d/m", undefined],
  ])("%s by %s", (filter, clientId, expected) => {
    expect(subscriptionKind(filter, clientId)).toBe(expected);
  });
});
