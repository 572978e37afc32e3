/** The lines of a capture: what is written is read, and what is damaged is known as such. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { SourceConfig } from "../../src/config/schema.ts";
import { formatHeader, formatLine, isHeader, parseLine } from "../../src/sources/capture.ts";

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.string({ unit: "binary", maxLength: 100 }).map((text) => Buffer.from(text)),
);
const times = fc.integer({ min: 0, max: 86_400_000_000 }).map((micros) => micros / 1_000);
const origins = fc.option(fc.string({ maxLength: 50 }), { nil: undefined });

test("any frame is read as it was written, and is one line", () => {
  fc.assert(
    fc.property(times, bytes, origins, (t, content, origin) => {
      const line = formatLine({ t, bytes: content, origin });
      expect(line).not.toContain("\n");
      const read = parseLine(line);
      if (!read || !("origin" in read)) throw new Error(`read as ${JSON.stringify(read)}`);
      expect(read.t).toBe(t);
      expect(Buffer.from(read.bytes).equals(Buffer.from(content))).toBe(true);
      expect(read.origin).toBe(origin);
    }),
  );
});

test("text stays readable, and bytes that are none are base64", () => {
  expect(formatLine({ t: 12.3456, bytes: Buffer.from('{"t":21.5}') })).toBe(
    '{"t":12.346,"text":"{\\"t\\":21.5}"}',
  );
  expect(formatLine({ t: 0, bytes: Uint8Array.of(0xff, 0x00) })).toBe('{"t":0,"base64":"/wA="}');
  expect(formatLine({ t: 0, discard: "overlong", bytes: 9 })).toBe('{"t":0,"discard":"overlong","bytes":9}');
});

test("a discard is read as it was written", () => {
  expect(parseLine(formatLine({ t: 5, discard: "truncated", bytes: 17 }))).toEqual({
    t: 5,
    discard: "truncated",
    bytes: 17,
  });
});

test.each([
  "",
  "null",
  "[]",
  '{"t":1',
  '{"text":"a"}',
  '{"t":"1","text":"a"}',
  '{"t":-1,"text":"a"}',
  '{"t":1e300,"text":"a"}',
  '{"t":1}',
  '{"t":1,"text":7}',
  '{"t":1,"text":"\\ud800"}',
  '{"t":1,"base64":"a"}',
  '{"t":1,"base64":"!!!!"}',
  '{"t":1,"text":"a","base64":"YQ=="}',
  '{"t":1,"text":"a","origin":5}',
  '{"t":1,"discard":7,"bytes":1}',
  '{"t":1,"discard":"no such thing","bytes":1}',
  '{"t":1,"discard":"overlong","bytes":-1}',
  '{"t":1,"discard":"overlong"}',
])("%s is damaged", (line) => {
  expect(parseLine(line)).toBeUndefined();
});

test("any text at all is a line or damaged, and a cut line is damaged", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseLine(text)));
  fc.assert(
    fc.property(bytes, fc.nat(), (content, cut) => {
      const line = formatLine({ t: 1, bytes: content });
      expect(parseLine(line.slice(0, cut % line.length))).toBeUndefined();
    }),
  );
});

test("a header tells the source's configuration without what it logs in with", () => {
  const config = {
    type: "mqtt",
    url: "mqtts://broker",
    topic: "t",
    username: "headgate",
    password: { env: "BROKER_PASSWORD" },
    keyFile: "/run/secrets/key.pem",
  } as unknown as SourceConfig;
  const header = formatHeader({ by: "1.0.0", source: "yard", startedAt: "2026-11-27T00:00:00.000Z", config });
  expect(isHeader(header)).toBe(true);
  expect(JSON.parse(header).config).toEqual({ type: "mqtt", url: "mqtts://broker", topic: "t" });
  expect(header).not.toMatch(/BROKER_PASSWORD|secrets|headgate"/);
});

test.each(["", "{}", '{"headgateCapture":2}', '{"t":1,"text":"a"}', "[1]", "x"])(
  "%s is no header",
  (line) => {
    expect(isHeader(line)).toBe(false);
  },
);
