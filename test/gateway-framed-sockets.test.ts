/** The whole daemon with microcontrollers that frame JSON or CBOR by SLIP or COBS, each on a socket of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { until } from "./support/until.ts";

const hex = (bytes: string) => Buffer.from(bytes.replaceAll(" ", ""), "hex");
const text = (bytes: string) => Buffer.from(bytes, "latin1");

interface Device {
  readonly framing: "slip" | "cobs";
  readonly format: "json" | "cbor";
  /** On the wire, written by hand: a frame, one that is damaged, another frame. */
  readonly bytes: readonly Buffer[];
  readonly discards: Readonly<Record<string, number>>;
  readonly values: readonly Readonly<Record<string, number>>[];
}

const devices: Readonly<Record<string, Device>> = {
  "slip-json": {
    framing: "slip",
    format: "json",
    // END before a frame as well, as RFC 1055 advises; ESC, and what may not stand behind it.
    bytes: [text('\xc0{"t":20.5,"u":1}\xc0'), text('{"t":1\xdb\x01}\xc0'), text('\xc0{"t":21.5,"u":2}\xc0')],
    discards: { malformed: 1 },
    values: [
      { t: 20.5, u: 1 },
      { t: 21.5, u: 2 },
    ],
  },
  "slip-cbor": {
    framing: "slip",
    format: "cbor",
    // 192 is END and 219 ESC, which are escaped; in the middle a sender that forgot it, so that the map is cut in two.
    bytes: [
      hex("c0 a2 6174 18dbdc 6175 22 c0"),
      hex("a2 6174 18 c0 6175 22 c0"),
      hex("a2 6174 18dbdd 6175 f93e00 c0"),
    ],
    discards: { malformed: 2 },
    values: [
      { t: 192, u: -3 },
      { t: 219, u: 1.5 },
    ],
  },
  "cobs-json": {
    framing: "cobs",
    format: "json",
    // A frame without a zero is one block: its length and one, the bytes, a zero. The damaged one says that it is longer.
    bytes: [text('\x0f{"t":7,"u":-1}\0'), text('\x20{"t":9}\0'), text('\x0e{"t":8,"u":0}\0')],
    discards: { malformed: 1 },
    values: [
      { t: 7, u: -1 },
      { t: 8, u: 0 },
    ],
  },
};

interface Entry {
  readonly kind: string;
  readonly device: string;
  readonly channels: Readonly<Record<string, { readonly value: number }>>;
}

function send(path: string, bytes: Uint8Array): Promise<void> {
  const socket = connect({ path });
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("close", () => resolve());
    socket.resume().end(bytes);
  });
}

test("JSON and CBOR in SLIP, and JSON in COBS, are at the hub; what is damaged is counted", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headgate-framed-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const hub = await startEmbeddedHub();
  onTestFinished(() => hub.stop());
  const socket = (name: string) => join(folder, `${name}.sock`);
  const config = {
    gateway: { name: "box" },
    sources: Object.fromEntries(
      Object.entries(devices).map(([name, { framing, format }]) => [
        name,
        {
          type: "socket",
          listen: `unix:${socket(name)}`,
          framing: { kind: framing },
          decode: { format },
          device: name,
        },
      ]),
    ),
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  const daemon = new RunningDaemon(folder, config, hub.environment("gateway"));
  onTestFinished(() => daemon.kill());
  daemon.start();
  for (const name of Object.keys(devices))
    await daemon.untilStatus(`${name} is open`, ({ sources }) => sources[name]?.state === "open");
  for (const [name, { bytes }] of Object.entries(devices)) await send(socket(name), Buffer.concat(bytes));

  const readingsOf = (name: string) =>
    hub.messages
      .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
      .filter((entry) => entry.device === name && entry.kind === "reading")
      .map(({ channels }) =>
        Object.fromEntries(Object.entries(channels).map(([channel, { value }]) => [channel, value])),
      );
  for (const [name, { values, discards }] of Object.entries(devices)) {
    await until(`${name} is at the hub`, () => readingsOf(name).length >= values.length);
    expect(readingsOf(name)).toEqual(values);
    const books = (await daemon.status())?.store.books[name];
    expect(books, name).toMatchObject({ ingested: values.length, frameDiscards: discards });
  }
  await daemon.stop();
});
