/** Which hub is in force: sections come and go in files and in twins of several hubs. */
import { describe, expect, test } from "vitest";
import type { Configuration } from "../../src/config/configuration.ts";
import { forbiddenInHub } from "../../src/config/twin-secrets.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { box, minute, twin } from "./box.ts";
import { jsonSource } from "./pipelines.ts";

const hub = (name: string, more: JsonObject = {}): JsonObject => ({
  type: "mqtt",
  url: `mqtt://${name}:1883`,
  ...more,
});
const hubOf = ({ current: { config } }: Configuration) =>
  config.hub.type === "mqtt" ? new URL(config.hub.url).hostname : config.hub.type;
let version = 1;
/** What a twin says, proven if it is another hub. */
function say(configuration: Configuration, layer: JsonObject, patch?: JsonObject): string {
  configuration.adopt(configuration.candidate(layer, patch), version++, 0);
  return hubOf(configuration);
}
const refusal = (act: () => unknown): string | undefined => {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems[0]?.path;
    throw error;
  }
  return undefined;
};

describe("a hub that a twin led to", () => {
  const moved = () => {
    const b = box({ hub: hub("a") });
    const running = b.run(0);
    say(running, { ...twin(1_000), hub: hub("b") }, { hub: hub("b") });
    return { b, running };
  };

  test("stays when its own twin is empty, or says nothing of the hub, and after restarts", () => {
    const { b, running } = moved();
    expect(say(running, {})).toBe("b");
    running.ended();
    const second = b.run(minute);
    expect(hubOf(second)).toBe("b");
    expect(second.current.config.windows.w?.sizeMs).toBe(1_000);
    expect(say(second, twin(2_000))).toBe("b");
    // From now on this twin was read, and emptying it is a wish.
    expect(say(second, {})).toBe("b");
    expect(second.current.config.windows.w).toBeUndefined();
    second.ended();
    expect(hubOf(b.run(2 * minute))).toBe("b");
  });

  test("stays with a broken file", () => {
    const { b, running } = moved();
    running.ended();
    b.write("{");
    expect(hubOf(b.run(minute))).toBe("b");
  });

  test("gives way to the file's when that is edited, and only then", () => {
    const { b, running } = moved();
    running.ended();
    b.write({ hub: hub("a"), gateway: { name: "renamed" } });
    const second = b.run(minute);
    expect(hubOf(second)).toBe("b");
    second.ended();
    b.write({ hub: hub("c") });
    const third = b.run(2 * minute);
    expect(hubOf(third)).toBe("c");
    third.ended();
    b.write({ hub: hub("a") });
    expect(hubOf(b.run(3 * minute))).toBe("a");
  });

  test("gives way to the file's by `null`, and by a section that goes from the twin it stood in", () => {
    const first = moved().running;
    expect(say(first, {}, { hub: null })).toBe("a");
    const second = moved().running;
    expect(say(second, { hub: hub("b") })).toBe("b");
    expect(say(second, {})).toBe("a");
  });

  test("is not gone back to by the first reading of another hub's twin, but by a patch", () => {
    const { running } = moved();
    expect(say(running, {}, { hub: null })).toBe("a");
    const stale = { hub: hub("b") };
    expect(refusal(() => running.candidate(stale))).toBe("hub");
    expect(refusal(() => running.candidate({ ...stale, ...twin(5_000) }, twin(5_000)))).toBe("hub");
    expect(say(running, stale, stale)).toBe("b");
  });

  test("is named in whole: nothing of the file's section is merged in", () => {
    const running = box({ hub: hub("a", { username: "me" }) }).run(0);
    expect(refusal(() => running.candidate({ hub: { username: "you" } }))).toBe("hub.type");
    say(running, { hub: hub("b") }, { hub: hub("b") });
    expect(running.current.config.hub).not.toHaveProperty("username");
  });

  test("is rolled back with its configuration when the process crashes there", () => {
    const b = box({ hub: hub("a") });
    const running = b.run(0);
    running.prove();
    say(running, { hub: hub("b") }, { hub: hub("b") });
    for (const at of [10_000, 20_000]) expect(hubOf(b.run(at))).toBe("b");
    const back = b.run(30_000);
    expect(hubOf(back)).toBe("a");
    expect(refusal(() => back.candidate({ hub: hub("b") }))).toBe("");
  });
});

test("crashes during a trial are not those of the configuration in force, and end the trials", () => {
  const b = box({ hub: hub("a"), ...twin(1_000) });
  b.run(0).ended();
  const second = b.run(6 * minute);
  say(second, twin(2_000));
  second.ended();
  for (const at of [7, 7.2, 7.4]) {
    const running = b.run(at * minute);
    expect(running.current.config.windows.w?.sizeMs).toBe(2_000);
    running.blame(running.candidate({ hub: hub("b") }).hash, at * minute);
  }
  const running = b.run(7.6 * minute);
  expect(running.current.config.windows.w?.sizeMs).toBe(2_000);
  const { hash } = running.candidate({ hub: hub("b") });
  expect(refusal(() => running.blame(hash, 7.6 * minute))).toBe("hub");
});

describe("a secret in a twin", () => {
  const { path: _, ...reads } = jsonSource("m");
  const broker = { ...reads, type: "mqtt", url: "mqtts://a", topic: "t" };
  const local = { type: "mqtt", url: "mqtts://a", password: { file: "/run/secrets/a" } };
  const paths = (section: JsonObject) =>
    forbiddenInHub(section, { hub: local }, "/data").map(({ path }) => path);

  test.each<[JsonObject, string[]]>([
    [{ url: "mqtts://a", password: { file: "/run/secrets/a" } }, []],
    [{ url: "mqtts://b", password: { file: "/run/secrets/a" } }, ["hub.password"]],
    [{ url: "mqtts://b", password: { file: "/etc/shadow" } }, ["hub.password"]],
    [{ url: "mqtts://b", password: { file: "/data/secrets/../headgate.db" } }, ["hub.password"]],
    [{ url: "mqtts://b", password: { file: "/data/secrets-of-others" } }, ["hub.password"]],
    [{ url: "mqtts://b", password: { file: "/data/secrets/b" } }, []],
    [{ url: "mqtts://b", password: { env: "HEADGATE_SECRET_B" } }, []],
    [{ url: "mqtts://b", password: { env: "AWS_SECRET_ACCESS_KEY" } }, ["hub.password"]],
    [
      { type: "iothub", connectionString: { env: "PATH" }, caFile: "/etc/passwd" },
      ["hub.connectionString", "hub.caFile"],
    ],
    [{ url: "mqtts://b", certFile: "/data/secrets/b.pem", keyFile: "/etc/ssl/private/k" }, ["hub.keyFile"]],
  ])("%j: %j are refused", (section, refused) => expect(paths(section)).toEqual(refused));

  test("is refused with its path before anything is tried", () => {
    const running = box({ hub: hub("a") }).run(0);
    expect(refusal(() => running.candidate({ hub: hub("b", { password: { env: "HOME" } }) }))).toBe(
      "hub.password",
    );
  });

  test("is refused in a source as well, and a source of the file takes none of its secrets elsewhere", () => {
    const source = { ...broker, password: { env: "HOME" } };
    const b = box({ hub: hub("a"), sources: { m: source } });
    const running = b.run(0);
    const refused = (name: string, patch: JsonObject) =>
      refusal(() => running.candidate({ sources: { [name]: patch } }));
    expect(refused("m", { idleMs: 5_000 })).toBeUndefined();
    expect(refused("m", { url: "mqtts://b" })).toBe("sources.m.password");
    expect(refused("m", { url: "mqtts://b", password: { env: "HEADGATE_SECRET_B" } })).toBeUndefined();
    expect(refused("m", { caFile: "/etc/passwd" })).toBe("sources.m.caFile");
    expect(refused("other", { ...source, url: "mqtts://b" })).toBe("sources.other.password");
  });

  test("is refused for a scorer as well, and a token of the file goes nowhere else", () => {
    const remote = { protocol: "score", url: "http://a/score", token: { env: "TOKEN_OF_A" } };
    const b = box({ hub: hub("a"), models: { m: { remote } } });
    const running = b.run(0);
    const refused = (name: string, patch: JsonObject) =>
      refusal(() => running.candidate({ models: { [name]: { remote: patch } } }));
    expect(refused("m", { size: { width: 32 } })).toBeUndefined();
    expect(refused("m", { url: "http://b/score" })).toBe("models.m.remote.token");
    expect(refused("m", { url: "http://b/score", token: null })).toBeUndefined();
    expect(refused("m", { url: "http://b/score", token: { env: "HEADGATE_SECRET_B" } })).toBeUndefined();
    expect(refused("other", { ...remote, url: "http://b/score" })).toBe("models.other.remote.token");
    say(running, { models: { m: { remote: { url: "http://b/score", token: null } } } });
    expect(running.current.config.models.m?.remote).not.toHaveProperty("token");
  });

  test("a twin's source reads numbers in files of the kernel, and where the file says", () => {
    const chip = { type: "sysfs", files: { v: { path: "temp" } }, device: "d" };
    const running = box({ hub: hub("a"), sources: { c: { ...chip, root: "/srv/chip" } } }).run(0);
    const refused = (name: string, patch: JsonObject) =>
      refusal(() => running.candidate({ sources: { [name]: patch } }));
    expect(refused("c", { intervalMs: 5_000 })).toBeUndefined();
    expect(refused("c", { root: "/run/secrets" })).toBe("sources.c.root");
    expect(refused("other", { ...chip, root: "/run/secrets" })).toBe("sources.other.root");
    expect(refused("other", { ...chip, root: "/sys/../run/secrets" })).toBe("sources.other.root");
    expect(refused("other", { ...chip, root: "/sys/class/thermal/thermal_zone0" })).toBeUndefined();
    expect(refused("other", { ...chip, chip: "cpu_thermal" })).toBeUndefined();
    const thermometer = { type: "oneWire", id: "28-000000000001", device: "d" };
    expect(refused("other", { ...thermometer, root: "/run/secrets" })).toBe("sources.other.root");
    expect(refused("other", thermometer)).toBeUndefined();
  });

  test("a twin's source takes pictures of no folder but the file's, and leaves them as the file says", () => {
    const models = { zoo: { file: "/m.onnx" } };
    const camera = { type: "imageFolder", folder: "/drops", model: "zoo", device: "d" };
    const sources = { c: camera, closed: { ...camera, folder: "/other", state: "off" } };
    const running = box({ hub: hub("a"), models, sources }).run(0);
    const refused = (name: string, patch: JsonObject) =>
      refusal(() => running.candidate({ sources: { [name]: patch } }));
    expect(refused("c", { labels: ["person"], lookMs: 60_000 })).toBeUndefined();
    expect(refused("c", { folder: "/srv/photos" })).toBe("sources.c.folder");
    expect(refused("c", { extensions: ["db"] })).toBe("sources.c.extensions");
    expect(refused("c", { afterwards: "move", moveTo: "/drops/x" })).toBe("sources.c.afterwards");
    expect(refused("c", { rejected: { maxFiles: 0 } })).toBe("sources.c.rejected");
    expect(refused("c", { maxBytes: 1_024 })).toBe("sources.c.maxBytes");
    expect(refused("c", { settleMs: 0 })).toBe("sources.c.settleMs");
    expect(refused("other", { ...camera, folder: "/srv/photos" })).toBe("sources.other.folder");
    expect(refused("closed", { state: "on" })).toBe("sources.closed.state");
    expect(refused("c", { state: "off" })).toBeUndefined();
    const sends = { keep: {}, upload: { hosts: ["blobs.example"] } };
    expect(refused("c", sends)).toBe("sources.c.upload");
    expect(refused("c", { keep: {} })).toBeUndefined();
    const camera2 = { type: "imageUrl", url: "http://cam/s.jpg", model: "zoo", device: "d" };
    expect(refused("other", camera2)).toBeUndefined();
    expect(refused("other", { ...camera2, ...sends })).toBe("sources.other.upload");
    expect(refused("other", { ...camera2, password: { env: "HOME" } })).toBe("sources.other.password");
  });

  test("does not follow a source that a twin led elsewhere when the file gains it", () => {
    const b = box({ hub: hub("a"), sources: { m: broker } });
    const running = b.run(0);
    say(running, { sources: { m: { url: "mqtts://b" } } });
    b.write({ hub: hub("a"), sources: { m: { ...broker, password: { env: "HOME" } } } });
    expect(refusal(() => running.reread())).toBe("sources.m.password");
  });
});
