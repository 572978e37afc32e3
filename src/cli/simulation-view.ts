import { tokenPath } from "../api/api-token.ts";
import type { EmbeddedHub, ReceivedMessage } from "../embedded-hub/embedded-hub.ts";
import type { Gateway } from "../gateway.ts";
import type {
  AlarmEntryBody,
  EntryBody,
  GapEntryBody,
  ReadingEntryBody,
  WindowEntryBody,
} from "../outbox/entry-schema.ts";
import type { SimulatedField } from "../simulated-devices/simulated-field.ts";

export interface SimulationViewOptions {
  readonly hub: EmbeddedHub;
  readonly field: SimulatedField;
  readonly gateway: Gateway;
  readonly configFile: string;
  readonly store: string;
  readonly sizeMs: number;
  readonly out: NodeJS.WriteStream;
}

const flowEveryMs = 5_000;

/** Shows a person what is going on: what can be poked, each window as the hub got it, and the flow's counts. */
export class SimulationView {
  readonly #options: SimulationViewOptions;
  #timer: NodeJS.Timeout | undefined;
  readonly #onMessage = (message: ReceivedMessage) => this.#message(message);

  constructor(options: SimulationViewOptions) {
    this.#options = options;
  }

  start(): void {
    const { hub } = this.#options;
    this.#print(this.#opening());
    hub.on("message", this.#onMessage);
    this.#timer = setInterval(() => this.#print(this.#flow()), flowEveryMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#options.hub.off("message", this.#onMessage);
    this.#print(`${this.#flow()}\nstopping`);
  }

  #opening(): string {
    const { hub, field, gateway, configFile, store, sizeMs } = this.#options;
    const module = `${hub.controlUrl}/twins/${hub.deviceId}/modules/gateway`;
    const devices = [...field.sensors.values()].map(({ name, path }) => `  ${name.padEnd(10)} ${path}`);
    return [
      "",
      "Headgate: simulated sensors → serial (pty) → journal (SQLite) → calibrate → validate → windows → outbox → hub",
      "",
      "Devices, sending JSON lines with drift, noise, and now and then a spike, a garbled line and a pause:",
      ...devices,
      "",
      "Everything here can be poked:",
      `  configuration  ${configFile}`,
      `  store          ${store}`,
      `  hub, MQTT      mqtts://localhost:${hub.port}`,
      `  hub, control   ${hub.controlUrl}/hub/status`,
      `  module twin    ${module}`,
      `  local API      ${gateway.status.api.url ?? gateway.status.api.reason}`,
      "",
      "Look at the books, which add up at every moment:",
      `  curl -H "Authorization: Bearer $(cat '${tokenPath(store)}')" ${gateway.status.api.url}/api/ledger`,
      `Change the window from ${sizeMs / 1000} s to 4 s in the desired properties, and watch it take effect:`,
      `  curl -X PATCH -H 'content-type: application/json' '${module}?api-version=2021-04-12' \\`,
      `       -d '{"properties":{"desired":{"windows":{"short":{"sizeMs":4000}}}}}'`,
      "Have a text scored, by a stand-in for the sentiment container that only counts words:",
      `  curl -H "Authorization: Bearer $(cat '${tokenPath(store)}')" -H 'content-type: application/json' \\`,
      `       -d '{"text":"The room is clean, and the staff is friendly."}' ${gateway.status.api.url}/sentiment`,
      "Take the hub away, and bring it back:",
      `  curl -X PUT -H 'content-type: application/json' ${hub.controlUrl}/hub/listening -d '{"state":"off"}'`,
      `  curl -X PUT -H 'content-type: application/json' ${hub.controlUrl}/hub/listening -d '{"state":"on"}'`,
      "",
      "Windows as the hub received them (means of calibrated, valid values):",
    ].join("\n");
  }

  #message(message: ReceivedMessage): void {
    let entries: EntryBody[];
    try {
      entries = JSON.parse(message.body.toString("utf8")) as typeof entries;
    } catch {
      this.#print(`  a message that is not JSON, ${message.body.length} bytes`);
      return;
    }
    for (const entry of entries) this.#print(`  ${lineOf(entry)}`);
  }

  #flow(): string {
    const { hub, gateway } = this.#options;
    const { store, intake, publisher, hub: link } = gateway.status;
    const books = Object.values(store.books);
    const sum = (pick: (book: (typeof books)[number]) => number) =>
      books.reduce((total, book) => total + pick(book), 0);
    const discarded = sum((b) =>
      Object.values({ ...b.frameDiscards, ...b.discards }).reduce((a, c) => a + c, 0),
    );
    return [
      `flow  frames ${sum((b) => b.frames)}`,
      `readings ${sum((b) => b.ingested)} (bad ${sum((b) => b.bad)})`,
      `published ${sum((b) => b.published)}`,
      `held ${sum((b) => b.held)}`,
      `discarded ${discarded}`,
      `commits ${intake.commits}`,
      `messages ${publisher.sent}`,
      `hub ${link.state}, has ${hub.messages.length}`,
    ].join(" · ");
  }

  #print(text: string): void {
    this.#options.out.write(`${text}\n`);
  }
}

function lineOf(entry: EntryBody): string {
  switch (entry.kind) {
    case "window":
      return windowLine(entry);
    case "gap":
      return gapLine(entry);
    case "reading":
      return readingLine(entry);
    case "alarm":
      return alarmLine(entry);
    default:
      return entry satisfies never;
  }
}

function alarmLine({ time, device, channel, to, reason, value, unit }: AlarmEntryBody): string {
  const what = ["alarm:", channel, to, reason, value, unit].filter((part) => part !== undefined);
  return [time.slice(11, 23), device.padEnd(8), what.join(" ")].join("  ");
}

function readingLine({ time, device, channels }: ReadingEntryBody): string {
  const values = Object.entries(channels).map(
    ([name, { value = "–", unit = "", reason }]) => `${name} ${value} ${unit}${reason ? ` (${reason})` : ""}`,
  );
  return [time.slice(11, 23), device.padEnd(8), values.join("  ")].join("  ");
}

function gapLine({ from, source, count, unit, reason }: GapEntryBody): string {
  return [from.slice(11, 23), source.padEnd(8), `missing: ${count} ${unit} (${reason})`].join("  ");
}

function windowLine(entry: WindowEntryBody): string {
  const channels = Object.entries(entry.channels).map(([name, { mean, unit = "", bad }]) => {
    const value = mean === undefined ? "–" : `${mean.toFixed(2)} ${unit}`;
    return `${name} ${value}${bad > 0 ? ` (${bad} bad)` : ""}`;
  });
  const count = entry.expected === undefined ? `${entry.count}` : `${entry.count}/${entry.expected}`;
  const marks = [
    ...(entry.revision > 0 ? [`revision ${entry.revision}`] : []),
    ...(entry.partial ? [`partial: ${entry.partial}`] : []),
  ];
  return [
    entry.windowStart.slice(11, 23),
    entry.device.padEnd(8),
    `${count} readings`.padEnd(15),
    channels.join("  "),
    ...marks,
  ].join("  ");
}
