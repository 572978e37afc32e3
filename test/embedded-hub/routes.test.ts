import { describe, expect, test } from "vitest";
import type { HubMessage } from "../../src/embedded-hub/messages.ts";
import { matchRoutes, parseRoute } from "../../src/embedded-hub/routes.ts";

function message(change: Partial<HubMessage> = {}): HubMessage {
  return {
    deviceId: "edge",
    moduleId: "filter",
    output: "alerts",
    systemProperties: {},
    properties: {},
    body: Buffer.alloc(0),
    ...change,
  };
}

function json(value: unknown): Partial<HubMessage> {
  const systemProperties = { contentType: "application/json; charset=utf-8", contentEncoding: "utf-8" };
  return { systemProperties, body: Buffer.from(JSON.stringify(value)) };
}

function isMatch(
  route: string,
  change: Partial<HubMessage> = {},
  kind: "telemetry" | "twinChange" = "telemetry",
) {
  return matchRoutes([parseRoute("r", route)], { kind, message: message(change) }).length === 1;
}

const device = { moduleId: undefined, output: undefined };

describe("sources", () => {
  test.each([
    ["/*", {}, true],
    ["/*", device, true],
    ["/messages/*", {}, true],
    ["/messages/*", device, true],
    ["/messages/modules/*", {}, true],
    ["/messages/modules/*", device, false],
    ["/messages/modules/filter/*", {}, true],
    ["/messages/modules/filter", {}, true],
    ["/messages/modules/filter/*", { output: undefined }, true],
    ["/messages/modules/FILTER/outputs/Alerts", {}, true],
    ["/messages/modules/filter/outputs/*", {}, true],
    ["/messages/modules/filter/outputs/*", { output: undefined }, false],
    ["/messages/modules/filter/outputs/alert", {}, false],
    ["/messages/modules/filte/*", {}, false],
    ["/twinChangeNotifications", {}, false],
  ])("%s", (source, change, expected) => {
    expect(isMatch(`FROM ${source} INTO $upstream`, change)).toBe(expected);
  });

  test("twin changes come from /twinChangeNotifications and /*, not from /messages/*", () => {
    expect(isMatch("FROM /twinChangeNotifications INTO $upstream", {}, "twinChange")).toBe(true);
    expect(isMatch("FROM /* INTO $upstream", {}, "twinChange")).toBe(true);
    expect(isMatch("FROM /messages/* INTO $upstream", {}, "twinChange")).toBe(false);
  });
});

describe("conditions", () => {
  const alert = { properties: { temperatureAlert: "true", level: "7" } };
  test.each([
    ["temperatureAlert = 'true'", alert, true],
    ['temperatureAlert = "true"', alert, true],
    ["temperatureAlert <> 'true'", alert, false],
    ["missing = 'x'", alert, false],
    ["missing != 'x'", alert, false],
    ["NOT missing = 'x'", alert, false],
    ["IS_DEFINED(missing)", alert, false],
    ["NOT IS_DEFINED(missing)", alert, true],
    ["not is_defined(level) or temperatureAlert = 'true'", alert, true],
    ["level = 7", alert, false],
    ["missing ?? 'd' = 'd'", alert, true],
    ["level || 'x' = '7x'", alert, true],
    ["$connectionModuleId = 'filter'", {}, true],
    ["NOT IS_DEFINED($connectionModuleId)", device, true],
    ["NOT IS_DEFINED($connectionModuleId)", {}, false],
    ["$contentType = 'text/plain'", { systemProperties: { contentType: "text/plain" } }, true],
    ["{$contentType} = 'text/plain'", { systemProperties: { contentType: "text/plain" } }, true],
    ["$body.temperature > 20.5", json({ temperature: 21 }), true],
    ["$body.temperature > 20.5", json({ temperature: 20 }), false],
    ["$body.temperature > 20.5", json({ temperature: "21" }), false],
    ["$body.a.b[1] = -3", json({ a: { b: [1, -3] } }), true],
    ["$body.ok = true AND $body.name >= 'b'", json({ ok: true, name: "bb" }), true],
    ["$body.ok = true AND ($body.n = 1 OR $body.n = 2)", json({ ok: true, n: 2 }), true],
    ["$body.ok = true AND $body.n = 1 OR $body.n = 2", json({ ok: false, n: 2 }), true],
    ["$body.ok = true AND ($body.n = 1 OR $body.n = 2)", json({ ok: false, n: 2 }), false],
    ["$body.temperature > 1", { body: Buffer.from('{"temperature":5}') }, false],
    ["$body.temperature > 1", { ...json({}), body: Buffer.from("{broken") }, false],
  ])("WHERE %s", (condition, change, expected) => {
    expect(isMatch(`FROM /messages/* WHERE ${condition} INTO $upstream`, change)).toBe(expected);
  });
});

describe("what cannot be read or is not supported is refused", () => {
  test.each([
    ["", "FROM was expected"],
    ["FROM /message/* INTO $upstream", "not a message source"],
    ["FROM /messages/modules/a/inputs/b INTO $upstream", "not a message source"],
    ["FROM /messages/* $upstream", "INTO was expected"],
    ["FROM /messages/* INTO upstream", "$upstream or BrokeredEndpoint"],
    ['FROM /messages/* INTO BrokeredEndpoint("/modules/x/outputs/i")', "a brokered endpoint is"],
    ['FROM /messages/* INTO BrokeredEndpoint("/modules/x/inputs/i"', '")" was expected'],
    ["FROM /messages/* INTO $upstream extra", "after the end"],
    ["FROM /messages/* WHERE INTO $upstream", "expected"],
    ["FROM /messages/* WHERE length(a) = 3 INTO $upstream", "length is not supported"],
    ["FROM /messages/* WHERE $madeUp = 3 INTO $upstream", "not supported"],
    ["FROM /messages/* WHERE $body = 3 INTO $upstream", "needs a path"],
    ["FROM /messages/* WHERE a = 3; INTO $upstream", 'unexpected ";"'],
    ["FROM /messages/* WHERE (a = 3 INTO $upstream", '")" was expected'],
  ])("%s", (route, text) => {
    expect(() => parseRoute("r", route)).toThrow(text);
    expect(() => parseRoute("r", route)).toThrow(expect.objectContaining({ name: "RouteSyntaxError" }));
  });

  test("a priority of 10", () => {
    expect(() => parseRoute("r", { route: "FROM /* INTO $upstream", priority: 10 })).toThrow("0 to 9");
  });
});

describe("matching", () => {
  test("a message goes to each endpoint once, by the highest priority that leads there", () => {
    const routes = [
      parseRoute("a", "FROM /messages/* INTO $upstream"),
      parseRoute("b", { route: "FROM /messages/modules/* INTO $upstream", priority: 3, timeToLiveSecs: 60 }),
      parseRoute("c", 'FROM /messages/* INTO BrokeredEndpoint("/modules/x/inputs/i1")'),
      parseRoute("d", 'FROM /messages/* INTO BrokeredEndpoint("/modules/x/inputs/i2")'),
      parseRoute("e", 'FROM /messages/modules/other/* INTO BrokeredEndpoint("/modules/y/inputs/i")'),
    ];
    expect(matchRoutes(routes, { kind: "telemetry", message: message() })).toEqual([
      { endpoint: { kind: "upstream" }, priority: 3, timeToLiveSecs: 60 },
      { endpoint: { kind: "input", moduleId: "x", input: "i1" }, priority: 2_000_000_000, timeToLiveSecs: 0 },
      { endpoint: { kind: "input", moduleId: "x", input: "i2" }, priority: 2_000_000_000, timeToLiveSecs: 0 },
    ]);
  });
});
