/** The rules of the house, read from the imports. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../src", import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
  readonly isLazy: boolean;
}

function imports(): Import[] {
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  return files.flatMap((file) => {
    const text = readFileSync(join(root, file), "utf8");
    const found = text.matchAll(
      /(?:^|\n)\s*(import|export)\s+(type\s)?[^;]*?from\s+"([^"]+)"|import\("([^"]+)"\)/g,
    );
    return [...found].map(([, , type, name, lazy]) => {
      const target = name ?? lazy ?? "";
      const to = target.startsWith(".") ? relative(root, resolve(root, dirname(file), target)) : target;
      return { from: file, to, typeOnly: type !== undefined, isLazy: lazy !== undefined };
    });
  });
}

const all = imports();
const folderOf = (file: string) => (file.includes("/") ? (file.split("/")[0] ?? "") : "");
const packages = (names: RegExp) =>
  [...new Set(all.filter(({ to }) => names.test(to)).map(({ from }) => from))].sort();

test("a stage imports the core and itself, and no other stage; types of neighbours are allowed", () => {
  const stages = [
    "sources",
    "journal",
    "dedupe",
    "decode",
    "calibrate",
    "validate",
    "detect",
    "window",
    "feed",
    "outbox",
    "publish",
    "hub",
    "ledger",
    "twin",
    "infer",
    "sentiment",
    "pictures",
  ];
  const wrong = all.filter(({ from, to, typeOnly }) => {
    if (!stages.includes(folderOf(from)) || !to.endsWith(".ts") || typeOnly) return false;
    return !["core", "config", "drivers", folderOf(from)].includes(folderOf(to));
  });
  expect(wrong).toEqual([]);
});

test("drivers open nothing: they import the core and themselves, and of packages types only", () => {
  const wrong = all.filter(
    ({ from, to, typeOnly }) =>
      folderOf(from) === "drivers" && !typeOnly && !["core", "drivers"].includes(folderOf(to)),
  );
  expect(wrong).toEqual([]);
});

test("the core imports nothing but itself", () => {
  expect(
    all.filter(({ from, to }) => folderOf(from) === "core" && to.endsWith(".ts") && folderOf(to) !== "core"),
  ).toEqual([]);
});

test("the embedded hub imports nothing of the gateway, so that it can judge it", () => {
  const wrong = all.filter(
    ({ from, to }) =>
      folderOf(from) === "embedded-hub" && to.endsWith(".ts") && folderOf(to) !== "embedded-hub",
  );
  expect(wrong).toEqual([]);
});

test("only the command line starts the embedded hub and simulated devices; the manifest check shares its route grammar", () => {
  const wrong = all.filter(
    ({ from, to }) =>
      ["embedded-hub", "simulated-devices"].includes(folderOf(to)) &&
      ![folderOf(to), "cli", "deployment"].includes(folderOf(from)),
  );
  expect(wrong).toEqual([]);
});

test("each package that touches the outside world is imported by one file", () => {
  expect(packages(/^better-sqlite3$/)).toEqual(["core/database.ts"]);
  expect(packages(/^serialport$/)).toEqual(["sources/serial-port.ts"]);
  expect(packages(/^azure-iot-device$/)).toEqual(["hub/azure-client.ts", "hub/azure-transport.ts"]);
  expect(packages(/^azure-iot-(device-mqtt|mqtt-base)$/)).toEqual(["hub/azure-transport.ts"]);
  expect(packages(/^mqtt$/)).toEqual([
    "hub/direct-connection.ts",
    "hub/mqtt-client.ts",
    "sources/mqtt-connection.ts",
  ]);
  expect(packages(/^re2js$/)).toEqual(["core/linear-pattern.ts"]);
  expect(packages(/^ws$/)).toEqual([
    "embedded-hub/listener.ts",
    "hub/direct-stream.ts",
    "sources/broker-socket.ts",
  ]);
  expect(packages(/^onnxruntime-(node|web)$/)).toEqual(["infer/engine.ts"]);
  expect(packages(/^sharp$/)).toEqual(["infer/images.ts"]);
  expect(packages(/^koffi$/)).toEqual([
    "core/end-process.ts",
    "core/libc.ts",
    "simulated-devices/pty.ts",
    "sources/i2c-chip.ts",
  ]);
  // Drivers describe their options with what they are given of it.
  expect(packages(/^zod$/).filter((file) => !["embedded-hub", "drivers"].includes(folderOf(file)))).toEqual([
    "config/any-source-schema.ts",
    "config/check.ts",
    "config/decode-schema.ts",
    "config/field-schema.ts",
    "config/framing-schema.ts",
    "config/hub-schema.ts",
    "config/image-source-schema.ts",
    "config/json-schema.ts",
    "config/modbus-schema.ts",
    "config/model-schema.ts",
    "config/model-source-schema.ts",
    "config/publish-schema.ts",
    "config/schema.ts",
    "config/sentiment-schema.ts",
    "config/source-schema.ts",
    "config/sysfs-source-schema.ts",
    "outbox/entry-schema.ts",
  ]);
});

test("clients of hubs and brokers are loaded when a configuration asks for them: they cost memory", () => {
  const costly = /^(hub\/(azure|direct|mqtt)-client|sources\/(mqtt-source|i2c-device|modbus-device))\.ts$/;
  const eager = all.filter(({ to, typeOnly, isLazy }) => costly.test(to) && !typeOnly && !isLazy);
  expect(eager).toEqual([]);
  expect(all.filter(({ to, isLazy }) => costly.test(to) && isLazy)).toHaveLength(6);
});

test("runtimes of models and libraries of images are loaded with the first model, and the first image", () => {
  const costly = /^(onnxruntime-(node|web)|sharp|infer\/model\.ts)$/;
  // Commands are loaded when they are called.
  const eager = all.filter(
    ({ from, to, typeOnly, isLazy }) => costly.test(to) && !typeOnly && !isLazy && from !== "cli/classify.ts",
  );
  expect(eager).toEqual([]);
});

test("Node's HTTP is had where it costs no memory", () => {
  const imported = all.filter(({ to, typeOnly }) => to === "node:http" && !typeOnly);
  const own = imported.filter(({ from }) => folderOf(from) !== "embedded-hub");
  expect(own).toEqual([]);
});

test("the pipeline reads no clock: time is input", () => {
  const pure = ["dedupe", "decode", "calibrate", "validate", "detect", "window", "feed", "ledger"];
  const pureFiles = [
    "pipeline.ts",
    "compiled-stages.ts",
    "journal/timekeeper.ts",
    "journal/hold.ts",
    "core/steady-time.ts",
    "sentiment/text-queue.ts",
    "sentiment/text-stage.ts",
  ];
  const clocks = /Date\.now|performance\.|hrtime|new Date\(\)|setTimeout|setInterval/;
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && (pure.includes(folderOf(file)) || pureFiles.includes(file)),
  );
  expect(files.length).toBeGreaterThan(5);
  expect(files.filter((file) => clocks.test(readFileSync(join(root, file), "utf8")))).toEqual([]);
});
