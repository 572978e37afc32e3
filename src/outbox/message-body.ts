import { gzipSync } from "node:zlib";
import type { HubMessage } from "../hub/hub-client.ts";

/** A message's place among the others: alarms overtake everything, what is new overtakes the backlog. */
export type MessageClass = "alarm" | "live" | "backfill";
export const messageClasses: readonly MessageClass[] = ["alarm", "live", "backfill"];

/** For each class the last message that is done with. */
export type Done = Readonly<Record<MessageClass, number>>;

/** `array`: a JSON array of entries; `lines`: a JSON object per line; `object`: one entry, one message. */
export type MessageFormat = "array" | "lines" | "object";

/** What a message is besides its entries; composed with it, and as final. */
export interface MessageForm {
  readonly class: MessageClass;
  readonly format: MessageFormat;
}

const backfillMark = ',"backfill":true}';
/** Bytes that an entry takes besides its own: the separator, and the mark. */
export function entryOverhead({ class: of, format }: MessageForm): number {
  return (format === "object" ? 0 : 1) + (of === "backfill" ? backfillMark.length - 1 : 0);
}
/** Bytes that a body takes whatever stands in it. */
export const bodyOverhead = ({ format }: MessageForm): number => (format === "array" ? 1 : 0);

/** UTF-8. The mark stands in the entries themselves, because not every hub has properties. */
export function bodyOf(entries: readonly string[], form: MessageForm): Uint8Array<ArrayBuffer> {
  const marked =
    form.class === "backfill" ? entries.map((entry) => entry.slice(0, -1) + backfillMark) : entries;
  return new Uint8Array(new TextEncoder().encode(joined(marked, form.format)));
}

function joined(entries: readonly string[], format: MessageFormat): string {
  switch (format) {
    case "array":
      return `[${entries.join(",")}]`;
    case "lines":
      return `${entries.join("\n")}\n`;
    case "object":
      return entries[0] ?? "";
    default:
      return format satisfies never;
  }
}

/** RFC 1952, without a time of its own. */
export const compressed = (body: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(gzipSync(body));

/** What the hub is told about a body. */
export function headersOf(
  { class: of, format }: MessageForm,
  isCompressed: boolean,
): Pick<HubMessage, "contentType" | "contentEncoding" | "properties"> {
  return {
    contentType: format === "lines" ? "application/x-ndjson" : "application/json",
    contentEncoding: isCompressed ? "gzip" : "utf-8",
    properties: of === "live" ? {} : { class: of },
  };
}

/**
 * Bytes that are metered besides the body: the values of system properties, and names and values of the others
 * (learn.microsoft.com, "Create and read IoT Hub messages": size of a message).
 */
export function headerBytes(id: string, output: string, form: MessageForm, isCompressed: boolean): number {
  const { contentType, contentEncoding, properties } = headersOf(form, isCompressed);
  const others = Object.entries(properties).reduce(
    (sum, [name, value]) => sum + name.length + value.length,
    0,
  );
  return id.length + output.length + contentType.length + contentEncoding.length + others;
}
