import { bytes, float, integer, message, type Pieces, text } from "./protobuf.ts";

/** Field numbers and enumerations are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. */
const elementTypes = { float32: 1, uint8: 2, int32: 6, int64: 7, string: 8, bool: 9 } as const;
/** AttributeProto.AttributeType */
const attributeTypes = { float: 1, int: 2, ints: 7 } as const;

export interface Value {
  readonly name: string;
  readonly type?: keyof typeof elementTypes;
  /** A name stands for a dimension that is open. */
  readonly shape: readonly (number | string)[];
}

export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly output: string;
  /** A whole number, a list of them, or `{ float }`. */
  readonly attributes?: Readonly<Record<string, number | readonly number[] | { readonly float: number }>>;
}

export interface Weights {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

export interface Model {
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly nodes: readonly Node[];
  readonly weights?: readonly Weights[];
  /** 7 unless set: that of the ResNet of the model zoo. */
  readonly opset?: number;
}

/** The first version in which weights need not be inputs as well (docs/IR.md, "Graphs"). */
const irVersion = 4;

/** An ONNX file, in pieces. */
export function onnxFile({ inputs, outputs, nodes, weights = [], opset = 7 }: Model): Pieces {
  return [
    integer(1, irVersion),
    text(2, "headgate"),
    message(
      7,
      ...nodes.map((node) => message(1, ...nodeFields(node))),
      text(2, "graph"),
      ...weights.map((tensor) => message(5, ...tensorFields(tensor))),
      ...inputs.map((value) => message(11, ...valueFields(value))),
      ...outputs.map((value) => message(12, ...valueFields(value))),
    ),
    message(8, text(1, ""), integer(2, opset)),
  ].flat();
}

/** NodeProto */
function nodeFields({ op, inputs, output, attributes = {} }: Node): Pieces[] {
  return [
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(3, output),
    text(4, op),
    ...Object.entries(attributes).map(([name, value]) => {
      if (typeof value === "number")
        return message(5, text(1, name), integer(3, value), integer(20, attributeTypes.int));
      if ("float" in value)
        return message(5, text(1, name), float(2, value.float), integer(20, attributeTypes.float));
      const numbers = value.map((number) => integer(8, number));
      return message(5, text(1, name), ...numbers, integer(20, attributeTypes.ints));
    }),
  ];
}

/** ValueInfoProto, with a TypeProto.Tensor */
function valueFields({ name, type = "float32", shape }: Value): Pieces[] {
  const dimensions = shape.map((size) =>
    message(1, typeof size === "number" ? integer(1, size) : text(2, size)),
  );
  const tensor = message(1, integer(1, elementTypes[type]), message(2, ...dimensions));
  return [text(1, name), message(2, tensor)];
}

/** TensorProto; raw_data is little-endian, as is every machine this runs on. */
function tensorFields({ name, shape, data }: Weights): Pieces[] {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const type = data instanceof Float32Array ? elementTypes.float32 : elementTypes.int64;
  return [...shape.map((size) => integer(1, size)), integer(2, type), text(8, name), bytes(9, raw)];
}
