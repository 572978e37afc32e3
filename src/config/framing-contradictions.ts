import { checksumBytes } from "../core/checksum.ts";
import type { Problem } from "../core/errors.ts";
import type { PacketFraming } from "./framing-schema.ts";
import { fieldEnd, leastBytes } from "./packet-layout.ts";
import type { StreamSource } from "./schema.ts";

/** Formats whose frames another framing would cut through. */
const framings: Partial<
  Record<StreamSource["decode"]["format"], readonly StreamSource["framing"]["kind"][]>
> = {
  dsmr: ["telegrams"],
  binary: ["packets", "slip", "cobs"],
  cbor: ["slip", "cobs"],
};

/** What a source's framing contradicts: itself, and the format of its frames. */
export function framingContradictions({ framing, decode }: StreamSource, path: string): Problem[] {
  const problems = framing.kind === "packets" ? packetContradictions(framing, `${path}.framing`) : [];
  const kinds = framings[decode.format];
  if (kinds && !kinds.includes(framing.kind)) {
    const message = `what ${decode.format} reads does not come in frames of kind ${framing.kind}`;
    problems.push({ path: `${path}.framing.kind`, message, hint: `choose ${kinds.join(" or ")}` });
  }
  if (decode.format === "binary" && framing.kind === "packets" && typeof framing.length === "number") {
    for (const [name, field] of Object.entries(decode.fields)) {
      if (fieldEnd(field) <= framing.length) continue;
      const message = `ends at ${fieldEnd(field)}, beyond the ${framing.length} bytes of a packet`;
      problems.push({ path: `${path}.decode.fields.${name}.offset`, message });
    }
  }
  return problems;
}

function packetContradictions(framing: PacketFraming, path: string): Problem[] {
  const problems: Problem[] = [];
  const { length, checksum, maxBytes } = framing;
  const least = leastBytes(framing);
  if (typeof length === "number" && length < least) {
    const message = `a packet of ${length} bytes has no room for header, checksum and trailer, which are ${least}`;
    problems.push({ path: `${path}.length`, message });
  }
  const longest = typeof length === "number" ? length : least;
  if (longest > maxBytes)
    problems.push({ path: `${path}.maxBytes`, message: `a packet has at least ${longest} bytes` });
  if (checksum && typeof length === "number" && length < checksum.from + checksumBytes(checksum.kind))
    problems.push({ path: `${path}.checksum.from`, message: `is beyond the ${length} bytes of a packet` });
  return problems;
}
