/** The command line as a user meets it: real processes, their output and their exit codes. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startProcess } from "./processes.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-cli-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const start = (args: readonly string[], environment?: Record<string, string>) =>
  startProcess(folder, args, environment);
const run = (args: readonly string[], environment?: Record<string, string>) => start(args, environment).done;

function file(name: string, content: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

const serial = (path: string) => ({ type: "serial", path, decode: { format: "json" }, device: "d" });

test("--version and --help", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  expect(await run(["--version"])).toMatchObject({ code: 0, out: `${version}\n` });
  const help = await run(["--help"]);
  expect(help.code).toBe(0);
  const commands = [
    "run",
    "simulate",
    "hub",
    "check",
    "schema",
    "scan",
    "record",
    "status",
    "ledger",
    "classify",
  ];
  for (const command of commands) expect(help.out).toContain(command);
  for (const command of commands) {
    expect((await run([command, "--help"])).out).toContain(`headgate ${command}`);
  }
});

test("an unknown command or option is an error with a way out", async () => {
  const outcome = await run(["simulate", "--colour"]);
  expect(outcome.code).toBe(78);
  expect(outcome.err).toContain("--help");
});

test("schema prints the JSON Schema that is in the project", async () => {
  const { out, code } = await run(["schema"]);
  expect(code).toBe(0);
  expect(JSON.parse(out)).toEqual(
    JSON.parse(readFileSync(new URL("../../config/headgate.schema.json", import.meta.url), "utf8")),
  );
});

test("check prints every problem with its path and a hint, and ends with 78", async () => {
  const path = file("bad.json", {
    gateway: { name: "box" },
    sources: {
      a: { ...serial("/dev/ttyS0"), baudrate: 9600 },
      b: { ...serial("/dev/ttyS1"), baudRate: "fast" },
    },
    windows: { w: { sizeMs: 1 } },
    hub: { type: "edge" },
  });
  const { out, code } = await run(["check", path]);
  expect(code).toBe(78);
  expect(out).toMatch(/error\s+sources\.a\.baudrate: unknown key \(did you mean baudRate\?\)/);
  expect(out).toMatch(/error\s+sources\.b\.baudRate: .*number/);
  expect(out).toMatch(/error\s+windows\.w\.sizeMs: /);
  const json = JSON.parse((await run(["check", path, "--json"])).out);
  expect(json).toMatchObject({ ok: false, problems: [{ path: "sources.a.baudrate" }, {}, {}] });
});

test("check finds two sources on one port, and an unreadable file", async () => {
  const two = file("two.json", {
    sources: { a: serial("/dev/x"), b: serial("/dev/x") },
    windows: { w: { sizeMs: 1000 } },
    hub: { type: "edge" },
  });
  expect(await run(["check", two])).toMatchObject({
    code: 78,
    out: expect.stringContaining("sources.b.path"),
  });
  const missing = await run(["check", join(folder, "none.json")]);
  expect(missing).toMatchObject({ code: 78, out: expect.stringContaining("none.json") });
  const torn = await run(["check", file("torn.json", '{"gateway": ')]);
  expect(torn).toMatchObject({ code: 78, out: expect.stringContaining("torn.json") });
});

test("check warns of readings that no window takes, and accepts them", async () => {
  const path = file("warn.json", { sources: { a: serial("/dev/ttyUSB0") }, hub: { type: "edge" } });
  const { out, code } = await run(["check", path]);
  expect(code).toBe(0);
  expect(out).toMatch(/warning\s+sources\.a: no window/);
  expect(out).toMatch(/warning\s+sources\.a\.path: .*by-id/);
});

test("run with a broken configuration and no earlier one ends with 78 and says where", async () => {
  const path = file("bad.json", {
    sources: { a: { type: "serial" } },
    store: { path: join(folder, "store") },
  });
  const { code, err } = await run(["run", "--config", path]);
  expect(code).toBe(78);
  expect(err).toContain("sources.a.path");
  expect(err).toContain("hub");
});

test("check warns of a socket that anybody may reach, and of no other", async () => {
  const socket = (listen: string) => ({ type: "socket", listen, decode: { format: "json" }, device: "d" });
  const sources = {
    open: socket("tcp://0.0.0.0:5000"),
    local: socket("tcp://127.0.0.1:5001"),
    six: socket("tcp://[::1]:5002"),
    file: socket("unix:/run/in.sock"),
  };
  const path = file("sockets.json", { sources, hub: { type: "edge" } });
  const { out, code } = await run(["check", path]);
  expect(code).toBe(0);
  expect(out).toContain("sources.open.listen");
  for (const name of ["local", "six", "file"]) expect(out).not.toContain(`sources.${name}.listen`);
});

test("a secret that is missing is found by check, and never shown by it", async () => {
  const path = file("secret.json", {
    hub: { type: "iothub", connectionString: { env: "HEADGATE_TEST_CONNECTION" } },
  });
  const missing = await run(["check", path]);
  expect(missing).toMatchObject({ code: 78, out: expect.stringContaining("hub.connectionString") });
  const none = { file: join(folder, "none") };
  const mqtt = {
    type: "mqtt",
    url: "mqtt://127.0.0.1",
    username: "u",
    password: none,
    topic: "a",
    decode: { format: "json" },
    device: { topicLevel: 0 },
  };
  const several = file("secrets.json", {
    sources: {
      broker: mqtt,
      off: { ...mqtt, state: "off" },
    },
    hub: { type: "edge" },
    api: { token: none },
    models: { away: { remote: { url: "http://scorer:8000", protocol: "score", token: none } } },
    sentiment: { url: "http://sentiment:5000", key: { env: "NO_SUCH_KEY" } },
  });
  const { out, code } = await run(["check", several, "--json"]);
  expect(code).toBe(78);
  const paths = (JSON.parse(out) as { problems: { path: string }[] }).problems.map(({ path }) => path);
  expect(paths).toEqual([
    "api.token",
    "sources.broker.password",
    "models.away.remote.token",
    "sentiment.key",
  ]);
  const there = await run(["check", path, "--json"], {
    HEADGATE_TEST_CONNECTION: "HostName=x;SharedAccessKey=abc",
  });
  expect(there.code).toBe(0);
  expect(there.out).not.toContain("abc");
});

test("hub and run: a daemon in the printed environment connects, says healthy, and stops with 0", async () => {
  const hub = start(["hub", "--json", "--metrics-port", "0"]);
  const printed = JSON.parse(await hub.shows("}\n")) as {
    controlUrl: string;
    environments: { gateway: Record<string, string> };
  };
  const path = file("run.json", { sources: {}, store: { path: join(folder, "store") } });
  const daemon = start(["run", "--config", path], printed.environments.gateway);
  await daemon.shows("hub connected");
  await daemon.shows('"upstream":"online"');
  const status = await run(["status", "--config", path, "--json"]);
  expect(status.code).toBe(0);
  expect(JSON.parse(status.out)).toMatchObject({
    healthy: true,
    hub: { state: "connected", type: "edge" },
    upstream: { state: "online", holding: false },
  });
  expect((await run(["run", "--config", path], printed.environments.gateway)).err).toContain("STORE_BUSY");
  expect((await run(["status", "--config", path])).code).toBe(0);
  daemon.stop("SIGTERM");
  const ended = await daemon.done;
  expect(ended.code).toBe(0);
  expect(ended.err).not.toContain("SharedAccess");
  expect((await run(["status", "--config", path])).code).toBe(1);
  hub.stop("SIGTERM");
  expect((await hub.done).code).toBe(0);
}, 60_000);

test("a SIGTERM during the start ends it in order, with 0", async () => {
  const path = file("run.json", { sources: {}, store: { path: join(folder, "store") } });
  const environment = { HEADGATE__hub: '{"type":"mqtt","url":"mqtt://127.0.0.1:1"}' };
  const daemon = start(["run", "--config", path], environment);
  await daemon.shows("store opened");
  daemon.stop("SIGTERM");
  expect((await daemon.done).code).toBe(0);
});
