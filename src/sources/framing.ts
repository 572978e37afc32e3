import type { Framing } from "../config/framing-schema.ts";
import type { Clock } from "../core/clock.ts";
import { checkOf } from "./check.ts";
import { cobsOf } from "./cobs.ts";
import { DelimitedFramer } from "./delimited-framer.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { newline, unwrapLine } from "./line.ts";
import { PacketFramer } from "./packet-framer.ts";
import { slipEnd, slipOf } from "./slip.ts";
import { TelegramFramer } from "./telegram-framer.ts";

export function framerOf(framing: Framing, sink: FrameSink, clock: Clock): Framer {
  switch (framing.kind) {
    case "lines":
      return new DelimitedFramer({ ...framing, delimiter: newline, unwrap: unwrapLine }, sink);
    case "telegrams":
      return new TelegramFramer(framing.maxBytes, sink);
    case "packets":
      return new PacketFramer(framing, sink, clock);
    case "slip": {
      const unwrap = slipOf(framing.maxBytes, checkOf(framing.checksum));
      return new DelimitedFramer({ ...framing, delimiter: slipEnd, unwrap }, sink);
    }
    case "cobs": {
      const unwrap = cobsOf(framing.maxBytes, checkOf(framing.checksum));
      return new DelimitedFramer({ ...framing, delimiter: 0, unwrap }, sink);
    }
    default:
      return framing satisfies never;
  }
}
