import type { Framing } from "../config/framing-schema.ts";
import type { Clock } from "../core/clock.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { LineFramer } from "./line-framer.ts";
import { PacketFramer } from "./packet-framer.ts";
import { TelegramFramer } from "./telegram-framer.ts";

export function framerOf(framing: Framing, sink: FrameSink, clock: Clock): Framer {
  switch (framing.kind) {
    case "lines":
      return new LineFramer(framing.maxBytes, framing.first, sink);
    case "telegrams":
      return new TelegramFramer(framing.maxBytes, sink);
    case "packets":
      return new PacketFramer(framing, sink, clock);
    default:
      return framing satisfies never;
  }
}
