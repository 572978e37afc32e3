import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Configuration, readConfigFile, storePath } from "../../src/config/configuration.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { codeOf } from "../core/codes.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

const minute = 60_000;

/** A box with a file and a store; each `start` is a start of the process. */
function box(file: JsonObject | string = {}) {
  const folder = temporaryFolder();
  const path = join(folder, "headgate.json");
  const store = join(folder, "data");
  const write = (content: JsonObject | string) =>
    writeFileSync(
      path,
      typeof content === "string"
        ? content
        : JSON.stringify({ hub: { type: "edge" }, gateway: { name: "box" }, ...content }),
    );
  write(file);
  const environment: NodeJS.ProcessEnv = { HEADGATE__store__path: store };
  return {
    path,
    store,
    write,
    environment,
    start: () => new Configuration(path, environment, recordingLog()),
    /** A start that comes as far as confirming what it runs. */
    run(nowMs: number) {
      const configuration = this.start();
      configuration.begin(nowMs);
      configuration.confirm(nowMs);
      return configuration;
    },
  };
}
/** Puts a twin layer in force, as a desired configuration does. */
function adopt(configuration: Configuration, twin: JsonObject, version: number, nowMs: number) {
  configuration.adopt(configuration.candidate(twin), twin, version, nowMs);
}
const windowOf = (configuration: Configuration) => configuration.current.config.windows.w?.sizeMs;
const twin = (sizeMs: number): JsonObject => ({ windows: { w: { sizeMs } } });

describe("layers", () => {
  test("defaults < file < environment < twin", () => {
    const b = box({
      gateway: { name: "file" },
      store: { maxLossMs: 1_000 },
      publish: { maxDelayMs: 1, maxMessageBytes: 2_000 },
    });
    b.environment.HEADGATE__publish__maxDelayMs = "2";
    b.environment.HEADGATE__report__intervalMs = "2000";
    const configuration = b.run(0);
    expect(configuration.current.config).toMatchObject({
      gateway: { name: "file" },
      store: { path: b.store, maxLossMs: 1_000 },
      publish: { maxDelayMs: 2, maxMessageBytes: 2_000, output: "readings" },
      report: { intervalMs: 2_000 },
    });
    expect(configuration.current.config.validate).toHaveProperty("climate");
    adopt(configuration, { report: { intervalMs: 3_000 }, validate: { climate: { state: "off" } } }, 1, 0);
    expect(configuration.current.config).toMatchObject({
      report: { intervalMs: 3_000 },
      publish: { maxDelayMs: 2 },
      validate: { climate: { state: "off" } },
    });
  });

  test("an entry that the twin no longer has is that of the layer below again", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    const configuration = b.run(0);
    adopt(configuration, twin(2_000), 1, 0);
    expect(windowOf(configuration)).toBe(2_000);
    adopt(configuration, {}, 2, 0);
    expect(windowOf(configuration)).toBe(1_000);
  });

  test("without a file the other layers do", () => {
    const folder = temporaryFolder();
    const environment = { HEADGATE__store__path: join(folder, "data"), HEADGATE__hub__type: "edge" };
    const configuration = new Configuration(undefined, environment, recordingLog());
    expect(configuration.current.config.hub.type).toBe("edge");
    expect(configuration.startProblems).toEqual([]);
  });
});

describe("a candidate", () => {
  test.each([
    [{ store: { path: "/elsewhere" } }, "store"],
    [{ hub: { type: "mqtt" } }, "hub"],
    [{ windows: { w: { sizeMs: 1 } } }, "windows.w.sizeMs"],
    [{ windows: { w: { sizeMs: 1_000, sources: ["gone"] } } }, "windows.w.sources.0"],
    [{ nonsense: 1 }, "nonsense"],
  ] satisfies [JsonObject, string][])("%j is refused at %s, and what runs stays", (layer, path) => {
    const configuration = box().run(0);
    const before = configuration.current;
    try {
      configuration.candidate(layer);
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      expect(error.problems.map((p) => p.path)).toContain(path);
    }
    expect(configuration.current).toBe(before);
  });

  test("alone changes nothing until it is adopted", () => {
    const configuration = box().run(0);
    configuration.candidate(twin(1_000));
    expect(windowOf(configuration)).toBeUndefined();
  });
});

describe("a restart", () => {
  test("keeps the twin's layer and its version", () => {
    const b = box();
    const first = b.run(0);
    adopt(first, twin(1_000), 7, 0);
    first.ended();
    const second = b.start();
    expect([windowOf(second), second.twinVersion, second.startProblems]).toEqual([1_000, 7, []]);
  });

  test("takes a changed file", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    b.write({ windows: { w: { sizeMs: 2_000 } } });
    const configuration = b.run(minute);
    expect([windowOf(configuration), configuration.startProblems]).toEqual([2_000, []]);
  });

  test.each([
    ["is no JSON", '{"gateway": '],
    ["breaks the schema", '{"hub": {"type": "edge"}, "windows": {"w": {"sizeMs": "long"}}}'],
    ["is no object", "[]"],
  ])("with a file that %s goes on with the last good configuration, and says so", (_, text) => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    b.write(text);
    const configuration = b.run(minute);
    expect(windowOf(configuration)).toBe(1_000);
    expect(configuration.startProblems.length).toBeGreaterThan(0);
    configuration.ended();
    // And again: the last good one is not forgotten by having been needed.
    expect(windowOf(b.run(2 * minute))).toBe(1_000);
    b.write({ windows: { w: { sizeMs: 3_000 } } });
    expect(windowOf(b.run(3 * minute))).toBe(3_000);
  });

  test("with a file that is gone goes on with the last good configuration", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    const configuration = new Configuration(`${b.path}.gone`, b.environment, recordingLog());
    expect(windowOf(configuration)).toBe(1_000);
  });

  test("with a twin layer that no longer fits the file starts with the last good one, whole", () => {
    const b = box({
      sources: { oven: { type: "serial", path: "/dev/a", decode: { format: "json" }, device: "d" } },
    });
    const first = b.run(0);
    adopt(first, { windows: { w: { sizeMs: 1_000, sources: ["oven"] } } }, 1, 0);
    first.ended();
    b.write({ sources: {} });
    const configuration = b.run(minute);
    expect(Object.keys(configuration.current.config.sources)).toEqual(["oven"]);
    expect(configuration.startProblems.map((p) => p.path)).toEqual(["windows.w.sources.0"]);
  });

  test("with a broken file and no last good configuration is refused", async () => {
    expect(await codeOf(() => box('{"gateway": ').start())).toBe("CONFIG_UNREADABLE");
    expect(await codeOf(() => box("{}").start())).toBe("CONFIG_INVALID");
    expect(await codeOf(() => new Configuration("/nowhere/file", {}, recordingLog()))).toBe(
      "CONFIG_UNREADABLE",
    );
  });

  test("a broken last good file does not prevent a start with a good file, and is replaced", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    mkdirSync(b.store, { recursive: true });
    for (const text of ["", "{", "[]", "null", '{"starts": 5}']) {
      writeFileSync(join(b.store, "configuration.json"), text);
      const configuration = b.run(0);
      expect(windowOf(configuration)).toBe(1_000);
      expect(configuration.startProblems).toHaveLength(1);
      configuration.ended();
      expect(JSON.parse(readFileSync(join(b.store, "configuration.json"), "utf8")).current.hash).toBe(
        configuration.current.hash,
      );
    }
  });

  test("a store folder that takes no file does not prevent a start", () => {
    const b = box();
    writeFileSync(b.store, "a file in the folder's place");
    const configuration = b.run(0);
    configuration.prove();
    configuration.ended();
    expect(configuration.current.config.gateway.name).toBe("box");
  });
});

describe("a crash loop", () => {
  /** A box that proved one configuration and then got another at `t`. */
  const changed = (t = 10 * minute) => {
    const b = box();
    const proven = b.run(0);
    adopt(proven, twin(1_000), 1, 0);
    proven.prove();
    adopt(proven, twin(2_000), 2, t);
    return { ...b, proven };
  };

  test("of three within five minutes rolls back, once, and says so", () => {
    const b = changed();
    const t = 10 * minute;
    // The first crash was of the process that adopted it; these are the starts after the first and the second.
    expect(windowOf(b.run(t + 10_000))).toBe(2_000);
    expect(windowOf(b.run(t + 20_000))).toBe(2_000);
    const back = b.run(t + 30_000);
    expect([windowOf(back), back.twinVersion]).toEqual([1_000, 1]);
    expect(back.startProblems.length).toBeGreaterThan(0);
    const next = b.run(t + 40_000);
    expect([windowOf(next), next.startProblems]).toEqual([1_000, []]);
  });

  test("the rolled-back configuration is refused from then on, also after restarts; another one is not", () => {
    const b = changed();
    for (const at of [10_000, 20_000, 30_000]) b.run(10 * minute + at);
    const later = b.run(30 * minute);
    expect(() => later.candidate(twin(2_000))).toThrow(ConfigError);
    adopt(later, twin(3_000), 3, 30 * minute);
    expect(windowOf(later)).toBe(3_000);
    expect(() => later.candidate(twin(2_000))).toThrow(ConfigError);
  });

  test("a file that was rolled back is not taken at the next start; a changed one is", () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    b.run(0).ended();
    b.write({ windows: { w: { sizeMs: 2_000 } } });
    for (const at of [10_000, 20_000, 30_000]) expect(windowOf(b.run(at))).toBe(2_000);
    const back = b.run(40_000);
    expect(windowOf(back)).toBe(1_000);
    expect(back.startProblems.length).toBeGreaterThan(0);
    back.ended();
    expect(windowOf(b.run(50_000))).toBe(1_000);
    b.write({ windows: { w: { sizeMs: 3_000 } } });
    expect(windowOf(b.run(60_000))).toBe(3_000);
  });

  test("orderly stops are no crashes", () => {
    const b = changed();
    b.proven.ended();
    for (let i = 1; i < 10; i++) {
      const configuration = b.run(10 * minute + i * 1_000);
      expect(windowOf(configuration)).toBe(2_000);
      configuration.ended();
    }
  });

  test("crashes further apart than five minutes roll nothing back", () => {
    const b = changed();
    for (let i = 1; i < 8; i++) expect(windowOf(b.run(10 * minute + i * 3 * minute))).toBe(2_000);
  });

  test("a configuration that proved itself is never rolled back", () => {
    const b = changed();
    b.proven.prove();
    for (let i = 1; i < 8; i++) expect(windowOf(b.run(20 * minute + i * 1_000))).toBe(2_000);
  });

  test("crashes before the change are not the new configuration's", () => {
    const b = box();
    for (const at of [0, 1_000, 2_000]) b.run(at);
    const running = b.run(3_000);
    adopt(running, twin(2_000), 1, 4_000);
    expect(windowOf(b.run(5_000))).toBe(2_000);
    expect(windowOf(b.run(6_000))).toBe(2_000);
    expect(windowOf(b.run(7_000))).toBeUndefined();
  });

  test("a patch that changes nothing but the twin's version does not forget the one before", () => {
    const b = changed();
    adopt(b.proven, twin(2_000), 3, 10 * minute + 1_000);
    b.run(10 * minute + 10_000);
    b.run(10 * minute + 20_000);
    expect(windowOf(b.run(10 * minute + 30_000))).toBe(1_000);
  });

  test("two changes within five minutes still lead back to the one that had proved itself", () => {
    const b = changed();
    adopt(b.proven, twin(3_000), 3, 10 * minute + 1_000);
    let at = 10 * minute + 1_000;
    let configuration = b.proven;
    for (let crashes = 0; crashes < 12; crashes++) {
      at += 10_000;
      configuration = b.run(at);
    }
    expect(windowOf(configuration)).toBe(1_000);
  });
});

describe("reading the file", () => {
  const read = (text: string) => {
    const path = join(temporaryFolder(), "file.json");
    writeFileSync(path, text);
    return readConfigFile(path);
  };

  test("a byte order mark and the editor's $schema do not count", () => {
    expect(read('\uFEFF{"$schema": "x.json", "gateway": {"name": "a"}}')).toEqual({ gateway: { name: "a" } });
  });

  test.each(["", "{", "[]", "null", '"x"', "{a: 1}", '{"a": 1} x'])("%j cannot be read", async (text) => {
    expect(await codeOf(() => read(text))).toBe("CONFIG_UNREADABLE");
  });

  test("a file far too large for a configuration is refused", async () => {
    expect(await codeOf(() => read(`{"a": "${"x".repeat(5_000_000)}"}`))).toBe("CONFIG_UNREADABLE");
  });

  test("a folder cannot be read", async () => {
    expect(await codeOf(() => readConfigFile(temporaryFolder()))).toBe("CONFIG_UNREADABLE");
  });
});

test("the store's path is found in layers that are broken otherwise", () => {
  expect(storePath({ store: { path: "/data" }, nonsense: 1 })).toBe("/data");
  for (const store of [undefined, null, 5, {}, { path: "" }, { path: 5 }]) {
    expect(storePath(store === undefined ? {} : { store: store as JsonObject })).toBe("data");
  }
});

test("a half-written last good file is never seen: the new one comes whole or not at all", () => {
  const b = box();
  b.run(0);
  expect(existsSync(join(b.store, "configuration.json.new"))).toBe(false);
  // What a power cut in the middle of writing leaves.
  writeFileSync(join(b.store, "configuration.json.new"), '{"starts": [');
  expect(b.run(1_000).startProblems).toEqual([]);
});
