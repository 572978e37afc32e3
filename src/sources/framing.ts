import type { Framing } from "../config/framing-schema.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { LineFramer } from "./line-framer.ts";

export function framerOf(framing: Framing, sink: FrameSink): Framer {
  const { kind } = framing;
  switch (kind) {
    case "lines":
      return new LineFramer(framing.maxBytes, framing.first, sink);
    default:
      return kind satisfies never;
  }
}
