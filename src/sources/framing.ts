import type { Framing } from "../config/framing-schema.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { LineFramer } from "./line-framer.ts";
import { TelegramFramer } from "./telegram-framer.ts";

export function framerOf(framing: Framing, sink: FrameSink): Framer {
  switch (framing.kind) {
    case "lines":
      return new LineFramer(framing.maxBytes, framing.first, sink);
    case "telegrams":
      return new TelegramFramer(framing.maxBytes, sink);
    default:
      return framing satisfies never;
  }
}
