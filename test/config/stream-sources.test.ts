/** Framing, packets, patterns and sockets: what their configuration contradicts. */
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";
import { paths, problemsOf } from "./problems.ts";

test("a socket source connects or listens, where nobody else does", () => {
  const socket = (more: JsonObject) => ({ type: "socket", decode: { format: "json" }, device: "d", ...more });
  const one = (more: JsonObject) => paths({ sources: { s: socket(more) } });
  const listen = "tcp://127.0.0.1:5000";
  expect(one({ listen })).toEqual([]);
  expect(one({ connect: "unix:/run/device.sock" })).toEqual([]);
  expect(one({})).toEqual(["sources.s"]);
  expect(one({ listen, connect: listen })).toEqual(["sources.s"]);
  expect(paths({ sources: { a: socket({ listen }), b: socket({ listen }) } })).toEqual(["sources.b.listen"]);
  expect(paths({ sources: { a: socket({ listen }), b: socket({ connect: listen }) } })).toEqual([]);
  for (const good of ["tcp://[::1]:1", "tcp://meter.local:65535", "unix:/a b"])
    expect(one({ connect: good })).toEqual([]);
  for (const bad of [
    "tcp://a",
    "tcp://a:0",
    "tcp://a:65536",
    "tcp://a:1/x",
    "udp://a:1",
    "unix:a",
    `unix:/${"a".repeat(107)}`,
  ])
    expect(one({ connect: bad })).toEqual(["sources.s.connect"]);
  const big = {
    store: { maxQueueBytes: 100_000 },
    sources: { s: socket({ listen, framing: { kind: "lines", maxBytes: 50_001 } }) },
  };
  expect(paths(big)).toEqual(["sources.s.framing.maxBytes"]);
});

test("keys of lines from before there was framing are told where they went", () => {
  const source = jsonSource("s", { maxLineBytes: 8_192, firstLine: "keep" });
  const problems = problemsOf({ sources: { s: source } });
  expect(problems.get("sources.s.maxLineBytes")?.hint).toBe("it is framing.maxBytes now");
  expect(problems.get("sources.s.firstLine")?.hint).toBe("it is framing.first now");
  const elsewhere = problemsOf({ publish: { firstLine: "keep" } });
  expect(elsewhere.get("publish.firstLine")?.hint).toContain("known here");
});

test("a format needs the framing that its frames come in", () => {
  const source = (framing: JsonObject) => ({
    sources: { s: jsonSource("s", { decode: { format: "dsmr" }, framing }) },
  });
  expect(paths(source({ kind: "lines" }))).toEqual(["sources.s.framing.kind"]);
  expect(paths(source({ kind: "telegrams" }))).toEqual([]);
  const cbor = (framing: JsonObject) => ({
    sources: { s: jsonSource("s", { decode: { format: "cbor" }, framing }) },
  });
  expect(paths(cbor({ kind: "lines" }))).toEqual(["sources.s.framing.kind"]);
  expect(paths(cbor({ kind: "cobs" }))).toEqual([]);
  const binary = (framing: JsonObject, offset = 0) => {
    const decode = { format: "binary", fields: { x: { offset, type: "uint16" } } };
    return { sources: { s: jsonSource("s", { decode, framing }) } };
  };
  expect(paths(binary({ kind: "lines" }))).toEqual(["sources.s.framing.kind"]);
  expect(paths(binary({ kind: "packets", header: "00", length: 10 }, 8))).toEqual([]);
  expect(paths(binary({ kind: "packets", header: "00", length: 10 }, 9))).toEqual([
    "sources.s.decode.fields.x.offset",
  ]);
});

test.each([
  ["(?<t>a", "missing closing"],
  ["[0-9]+", "no named group"],
  ["(?<t>a)\\1", "invalid escape"],
  ["(?<t>(?=a))", "invalid or unsupported"],
  [`(?<t>${"a".repeat(500)})`, "longer than 500"],
  ["(?<t>a{300}b{300})", "repeats more than 500"],
  ["(?<t>((a{10}){10}){10})", "at most 256"],
])("the pattern %s is refused with its reason", (pattern, reason) => {
  const sections = { sources: { s: jsonSource("s", { decode: { format: "regex", pattern } }) } };
  expect(problemsOf(sections).get("sources.s.decode.pattern")?.message).toContain(reason);
});

test("packets have room for what is declared of them, on the border to the byte", () => {
  const framing = (more: JsonObject) => ({
    sources: { s: jsonSource("s", { framing: { kind: "packets", header: "424d", length: 6, ...more } }) },
  });
  const checksum = { kind: "sum16" };
  expect(paths(framing({ checksum, trailer: "abcd" }))).toEqual([]);
  expect(paths(framing({ checksum, trailer: "abcdef" }))).toEqual(["sources.s.framing.length"]);
  expect(paths(framing({ maxBytes: 6 }))).toEqual([]);
  expect(paths(framing({ maxBytes: 5 }))).toEqual(["sources.s.framing.maxBytes"]);
  expect(paths(framing({ length: { offset: 4, type: "uint16" }, checksum, maxBytes: 8 }))).toEqual([]);
  expect(paths(framing({ length: { offset: 4, type: "uint16" }, checksum, maxBytes: 7 }))).toEqual([
    "sources.s.framing.maxBytes",
  ]);
  expect(paths(framing({ checksum: { kind: "sum16", from: 4 } }))).toEqual([]);
  expect(paths(framing({ checksum: { kind: "sum16", from: 5 } }))).toEqual([
    "sources.s.framing.checksum.from",
  ]);
  expect(paths(framing({ header: "4" }))).toEqual(["sources.s.framing.header"]);
  expect(paths(framing({ header: "" }))).toEqual(["sources.s.framing.header"]);
});
