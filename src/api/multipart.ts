/** A part of a form: its name, and what stands in it. */
export interface FormPart {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const maxParts = 32;
const maxHeaderBytes = 4_096;
const blankLine = Buffer.from("\r\n\r\n");

/**
 * The parts of `multipart/form-data` (RFC 7578; the boundaries are RFC 2046 section 5.1.1), pointing into the body.
 * Undefined when the body is none, or has more parts or longer headers than a form that brings an image.
 */
export function formParts(contentType: string, body: Uint8Array): FormPart[] | undefined {
  const [, quoted, bare] = /boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) return undefined;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const delimiter = Buffer.from(`\r\n--${boundary}`, "latin1");
  const first = delimiter.subarray(2);
  // The first boundary may stand at the very begin, without a line before it.
  const begin = bytes.subarray(0, first.length).equals(first) ? 0 : bytes.indexOf(delimiter) + 2;
  if (begin === 1) return undefined;
  const parts: FormPart[] = [];
  let at = begin + first.length;
  while (bytes.subarray(at, at + 2).toString("latin1") === "\r\n") {
    const end = bytes.indexOf(delimiter, at);
    const headersEnd = bytes.subarray(at, at + maxHeaderBytes).indexOf(blankLine);
    if (end < 0 || headersEnd < 0 || parts.length === maxParts) return undefined;
    const headers = bytes.subarray(at, at + headersEnd).toString("utf8");
    const [, name] = /^content-disposition:[^\r]*?[;\s]name="([^"]*)"/im.exec(headers) ?? [];
    const from = at + headersEnd + blankLine.length;
    if (name === undefined || from > end) return undefined;
    parts.push({ name, bytes: bytes.subarray(from, end) });
    at = end + delimiter.length;
  }
  // Two hyphens close the last; a body that ends without them was cut off.
  return bytes.subarray(at, at + 2).toString("latin1") === "--" ? parts : undefined;
}
