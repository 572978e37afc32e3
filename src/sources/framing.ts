import type { First, Framing } from "../config/framing-schema.ts";
import type { Clock } from "../core/clock.ts";
import { checkOf } from "./check.ts";
import { cobsOf } from "./cobs.ts";
import { DelimitedFramer } from "./delimited-framer.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { newline, unwrapLine } from "./line.ts";
import { PacketFramer } from "./packet-framer.ts";
import { slipEnd, slipOf } from "./slip.ts";
import { TelegramFramer } from "./telegram-framer.ts";

/** `first`: where the framing leaves open what becomes of the bytes before the first end. */
export function framerOf(framing: Framing, sink: FrameSink, clock: Clock, first: First = "discard"): Framer {
  const { maxBytes } = framing;
  const delimited = { maxBytes, first: "first" in framing ? (framing.first ?? first) : first };
  switch (framing.kind) {
    case "lines":
      return new DelimitedFramer({ ...delimited, delimiter: newline, unwrap: unwrapLine }, sink);
    case "telegrams":
      return new TelegramFramer(maxBytes, sink);
    case "packets":
      return new PacketFramer(framing, sink, clock);
    case "slip": {
      const unwrap = slipOf(maxBytes, checkOf(framing.checksum));
      return new DelimitedFramer({ ...delimited, delimiter: slipEnd, unwrap }, sink);
    }
    case "cobs": {
      const unwrap = cobsOf(maxBytes, checkOf(framing.checksum));
      return new DelimitedFramer({ ...delimited, delimiter: 0, unwrap }, sink);
    }
    default:
      return framing satisfies never;
  }
}
