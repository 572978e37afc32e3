import { type Refusal, refuse } from "./refusal.ts";
import { type ElementType, sizeOf, type Tensor } from "./tensor.ts";
import { tensorOfBytes } from "./tensor-bytes.ts";

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, "Format Version 1.0" and those after it. */
const magic = Buffer.from("\x93NUMPY", "latin1");

export const isNpy = (bytes: Uint8Array): boolean => magic.equals(bytes.subarray(0, magic.length));

/**
 * A header is a Python dict of three known keys; anything else is none that NumPy writes. Of the sizes each but the last
 * needs its comma: digits that could be parted in many ways would take for ever to be refused.
 */
const header =
  /^\s*\{\s*'descr':\s*'([<>|=])([a-z]\d+)',\s*'fortran_order':\s*(True|False),\s*'shape':\s*\(\s*((?:\d{1,9}\s*,\s*)*(?:\d{1,9}\s*)?)\),?\s*\}\s*$/;
const types: Readonly<Record<string, ElementType>> = {
  f4: "float32",
  f8: "float64",
  i1: "int8",
  u1: "uint8",
  i2: "int16",
  u2: "uint16",
  i4: "int32",
  u4: "uint32",
  i8: "int64",
  u8: "uint64",
  b1: "bool",
};

/** A NumPy file, which `numpy.save` writes. */
export function readNpy(bytes: Uint8Array): Tensor | Refusal {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12) return refuse("malformed", "the .npy file is cut off");
  // Version 1 counts its header in two bytes, 2 and 3 in four.
  const isFirst = bytes[6] === 1;
  const begin = isFirst ? 10 : 12;
  const length = isFirst ? view.getUint16(8, true) : view.getUint32(8, true);
  if (begin + length > bytes.length) return refuse("malformed", "the .npy file is cut off");
  if (length > 4_096) return refuse("malformed", "the .npy file's header is none that NumPy writes");
  const text = Buffer.from(bytes.subarray(begin, begin + length)).toString("latin1");
  const [, order, code = "", fortran, sizes = ""] = header.exec(text) ?? [];
  if (order === undefined) return refuse("malformed", "the .npy file's header is none that is known here");
  const type = Object.hasOwn(types, code) ? types[code] : undefined;
  if (!type || order === ">")
    return refuse("badType", `the .npy file is of type ${order}${code}; little-endian numbers are taken`);
  const shape = (sizes.match(/\d+/g) ?? []).map(Number);
  if (fortran === "True" && shape.length > 1)
    return refuse("badShape", "the .npy file is in Fortran order; save numpy.ascontiguousarray(…)");
  const data = bytes.subarray(begin + length);
  if (sizeOf(shape) > bytes.length) return refuse("badLength", "the .npy file is cut off");
  return tensorOfBytes(type, shape, data);
}
