/** What a Modbus source of the configuration may say, and what a twin may change of it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import { Configuration } from "../../src/config/configuration.ts";
import { ConfigError, type Problem } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { recordingLog } from "../core/recording-log.ts";

const base = { gateway: { name: "box" }, hub: { type: "edge" } };
const rtu = (more: JsonObject = {}): JsonObject => ({
  type: "modbus",
  transport: "rtu",
  path: "/dev/line",
  unit: 1,
  device: "d",
  registers: { power: { address: 12 } },
  ...more,
});
const tcp = (more: JsonObject = {}): JsonObject => {
  const { path: _, unit: __, ...rest } = rtu();
  return { ...rest, transport: "tcp", host: "plc", ...more };
};
function problemsOf(work: () => unknown): Readonly<Record<string, Problem>> {
  try {
    work();
    return {};
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return Object.fromEntries(error.problems.map((problem) => [problem.path, problem]));
  }
}
const check = (sources: JsonObject) => problemsOf(() => checkConfig({ ...base, sources }));
const registers = (register: JsonObject) => check({ s: rtu({ registers: { c: register } }) });

test("a line and a server get the standards' defaults", () => {
  const { config } = checkConfig({ ...base, sources: { line: rtu(), server: tcp() } });
  expect(config.sources.line).toMatchObject({ baudRate: 19_200, parity: "even", stopBits: 1, dataBits: 8 });
  expect(config.sources.server).toMatchObject({ port: 502, unit: 255 });
  expect(config.sources.line).toMatchObject({ timeoutMs: 1_000, intervalMs: 1_000, maxGap: 0 });
});

describe("problems", () => {
  test("without a transport it is said what is missing, and a key of the other one is no advice", () => {
    const { transport: _, ...without } = rtu();
    expect(check({ s: without })).toMatchObject({ "sources.s.transport": { message: "is missing" } });
    const wrong = check({ s: rtu({ host: "plc", boudRate: 9_600 }) });
    expect(wrong["sources.s.boudRate"]?.hint).toBe("did you mean baudRate?");
    expect(wrong["sources.s.host"]?.hint).toContain("known here: ");
    expect(wrong["sources.s.host"]?.hint).not.toContain("host");
    expect(check({ s: tcp({ path: "/dev/line" }) })["sources.s.path"]?.hint).toContain("host");
    expect(registers({ address: 1, adress: 2 })["sources.s.registers.c.adress"]?.hint).toContain("address");
  });

  test.each([
    [rtu({ unit: 0 }), "unit"],
    [rtu({ unit: 248 }), "unit"],
    [rtu({ dataBits: 7 }), "dataBits"],
    [tcp({ unit: 248 }), "unit"],
    [tcp({ unit: 256 }), "unit"],
    [tcp({ port: 0 }), "port"],
    [rtu({ registers: {} }), "registers"],
  ])("%j is refused at %s", (source, path) => {
    expect(Object.keys(check({ s: source }))).toEqual([`sources.s.${path}`]);
  });

  test.each([
    [{ address: 65_536 }, "address"],
    [{ address: 65_535, type: "float32" }, "address"],
    [{ address: 0, table: "coil", type: "int16" }, "type"],
    [{ address: 0, table: "discrete", bit: 0 }, "bit"],
    [{ address: 0, type: "bool" }, "bit"],
    [{ address: 0, type: "bool", bit: 16 }, "bit"],
    [{ address: 0, type: "bool", bit: 1, bits: 2 }, "bits"],
    [{ address: 0, type: "float32", bit: 1 }, "bit"],
    [{ address: 0, bit: 12, bits: 5 }, "bit"],
    [{ address: 0, scale: 0 }, "scale"],
    [{ address: 0, type: "text" }, "type"],
    [{ address: 0, type: "string" }, "length"],
    [{ address: 0, table: "coil", type: "string" }, "type"],
    [{ address: 65_532, type: "string", length: 5 }, "address"],
    [{ address: 0, type: "string", length: 126 }, "length"],
    [{ address: 0, type: "string", length: 2, scale: 2 }, "scale"],
    [{ address: 0, type: "string", length: 2, wordOrder: "little" }, "wordOrder"],
    [{ address: 0, type: "string", length: 2, bit: 0 }, "bit"],
    [{ address: 0, type: "string", length: 1, writable: { min: 1, max: 1 } }, "writable"],
    [{ address: 0, type: "int16", length: 1 }, "length"],
    [{ address: 0, words: { on: 1 } }, "words"],
    [{ address: 0, min: 2, max: 1 }, "min"],
    [{ address: 0, table: "input", writable: { min: 0, max: 1 } }, "writable"],
    [{ address: 0, bit: 1, writable: { min: 0, max: 1 } }, "writable"],
    [{ address: 0, writable: { min: 2, max: 1 } }, "writable"],
    [{ address: 0, writable: { min: 0, max: 70_000 } }, "writable.max"],
    [{ address: 0, writable: { min: 0 } }, "writable.max"],
  ] satisfies [JsonObject, string][])("a register %j is refused at %s", (register, path) => {
    expect(Object.keys(registers(register))).toEqual([`sources.s.registers.c.${path}`]);
  });

  test("sources share a line when its settings are the same, and with nobody else", () => {
    expect(
      check({ a: rtu(), b: rtu({ unit: 2 }), c: rtu({ unit: 3, path: "/dev/other", baudRate: 9_600 }) }),
    ).toEqual({});
    const other = check({ a: rtu(), b: rtu({ unit: 2, baudRate: 9_600, parity: "none" }) });
    expect(Object.keys(other).sort()).toEqual(["sources.b.baudRate", "sources.b.parity"]);
    expect(other["sources.b.baudRate"]?.message).toBe("source a has 19200 on the same line");
    const serial = { type: "serial", path: "/dev/line", device: "d", decode: { format: "json" } };
    expect(Object.keys(check({ a: rtu(), b: serial }))).toEqual(["sources.b.path"]);
    expect(Object.keys(check({ b: serial, a: rtu() }))).toEqual(["sources.a.path"]);
    expect(check({ b: { ...serial, state: "off" }, a: rtu() })).toEqual({});
  });
});

test("the pipeline knows where values are, their units and ranges, and nothing of writing", () => {
  const writable = { min: 0, max: 5 };
  const all = {
    power: { address: 12, type: "float32", unit: "kW", min: 0, max: 50, writable },
    spare: { address: 1, state: "off" },
  };
  const of = (more: JsonObject) =>
    pipelineConfig(checkConfig({ ...base, sources: { s: rtu({ registers: { ...all, ...more } }) } }));
  const { sources, hash } = of({});
  expect(sources.s?.channels).toEqual({ power: { unit: "kW", min: 0, max: 50 } });
  expect(sources.s?.decode).toEqual({
    format: "modbus",
    registers: {
      power: {
        table: "holding",
        address: 12,
        type: "float32",
        wordOrder: "big",
        byteOrder: "big",
        bits: 1,
        scale: 1,
        offset: 0,
        unit: "kW",
        min: 0,
        max: 50,
      },
    },
  });
  const { writable: _, ...fixed } = all.power;
  expect(of({ power: fixed }).hash).toBe(hash);
});

describe("a twin", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "headgate-modbus-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** The problems of a twin's sources over a file's. */
  function problemsOfTwin(file: JsonObject, twin: JsonObject) {
    const path = join(folder, "headgate.json");
    writeFileSync(path, JSON.stringify({ ...base, store: { path: folder }, sources: file }));
    const configuration = new Configuration(path, {}, recordingLog());
    return Object.keys(problemsOf(() => configuration.candidate({ sources: twin })));
  }
  const writable = { address: 12, writable: { min: 0, max: 5 } };
  const guarded = { s: rtu({ registers: { power: writable, other: { address: 20 } } }) };

  test("makes nothing writable, in no source", () => {
    const message = ["sources.s.registers.power.writable"];
    expect(
      problemsOfTwin({ s: rtu() }, { s: { registers: { power: { writable: { min: 0, max: 1 } } } } }),
    ).toEqual(message);
    expect(problemsOfTwin({}, { s: rtu({ registers: { power: writable } }) })).toEqual(message);
    expect(problemsOfTwin(guarded, { s: { registers: { power: { writable: { max: 9 } } } } })).toEqual(
      message,
    );
  });

  test.each([
    ["unit", 2],
    ["path", "/dev/other"],
    ["transport", "tcp"],
    ["registers", { power: { address: 13 } }],
    ["registers", { power: { scale: 10 } }],
    ["registers", { more: { address: 13 } }],
  ])("leaves a source with something writable at its place: %s", (key, value) => {
    expect(problemsOfTwin(guarded, { s: { [key]: value } })).toEqual([`sources.s.${key}`]);
  });

  test("may do the rest, and what it likes with sources that have nothing writable", () => {
    expect(problemsOfTwin(guarded, { s: { intervalMs: 5_000, silentMs: 0 } })).toEqual([]);
    expect(problemsOfTwin(guarded, { s: { state: "off" } })).toEqual([]);
    expect(problemsOfTwin({ s: rtu() }, { s: { unit: 9, registers: { power: { address: 13 } } } })).toEqual(
      [],
    );
    expect(problemsOfTwin(guarded, { t: rtu({ unit: 7 }) })).toEqual([]);
  });

  test("switches nothing on that the file has off, where that writes or lets others in", () => {
    const off = { s: { ...guarded.s, state: "off" } };
    const door = {
      s: {
        type: "socket",
        listen: "tcp://0.0.0.0:5001",
        decode: { format: "json" },
        device: "d",
        state: "off",
      },
    };
    for (const file of [off, door]) {
      expect(problemsOfTwin(file, { s: { state: "on" } })).toEqual(["sources.s.state"]);
      expect(problemsOfTwin(file, { s: { state: "off", silentMs: 0 } })).toEqual([]);
    }
    expect(problemsOfTwin(guarded, { s: { state: "on" } })).toEqual([]);
    expect(problemsOfTwin({ s: rtu({ state: "off" }) }, { s: { state: "on" } })).toEqual([]);
  });
});
