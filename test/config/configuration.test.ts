import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Configuration, readConfigFile, storePath } from "../../src/config/configuration.ts";
import { ConfigError, TransientError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { codeOf } from "../core/codes.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { adopt, box, minute, twin, windowOf } from "./box.ts";

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
    [{ hub: { type: "mqtt" } }, "hub.url"],
    [{ hub: "edge" }, "hub"],
    [{ api: { state: "off" } }, "api"],
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

describe("adopting", () => {
  test("fails when it cannot be saved, changes nothing then, and works when it can again", async () => {
    const b = box({ windows: { w: { sizeMs: 1_000 } } });
    const configuration = b.run(0);
    adopt(configuration, twin(2_000), 7, 0);
    const before = configuration.current;
    rmSync(b.store, { recursive: true });
    writeFileSync(b.store, "a file in the folder's place");
    const candidate = configuration.candidate(twin(3_000));
    const failure = await Promise.resolve()
      .then(() => configuration.adopt(candidate, 8, 0))
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(TransientError);
    expect(failure).toMatchObject({ code: "STORE_UNUSABLE" });
    expect(configuration.current).toBe(before);
    expect(configuration.twinVersion).toBe(7);
    rmSync(b.store);
    configuration.adopt(candidate, 8, 0);
    expect([windowOf(configuration), configuration.twinVersion]).toEqual([3_000, 8]);
    expect(windowOf(b.start())).toBe(3_000);
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
