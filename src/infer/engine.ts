import type * as Ort from "onnxruntime-node";
import { messageOf } from "../core/errors.ts";
import type { Session } from "./session.ts";
import { isElementType, type Tensor, type TensorInfo } from "./tensor.ts";

/** `native`: the binary of x64 and arm64. `wasm`: WebAssembly, where there is none; about seven times as slow. */
export type EngineName = "native" | "wasm";

export interface EngineOptions {
  /** `auto`: the binary, or WebAssembly where the binary cannot be loaded. */
  readonly engine: EngineName | "auto";
  readonly threads: number;
  readonly providers: readonly string[];
  readonly memoryArena: "on" | "off";
}

/**
 * Loads a model from a file. To be called in a thread of its own: both runtimes load and run in the thread of their
 * caller, and block it.
 * @throws Error with what the runtime says
 */
export async function openSession(path: string, options: EngineOptions): Promise<Session> {
  const { engine, ort } = await load(options);
  const session = await ort.InferenceSession.create(path, {
    executionProviders: engine === "wasm" ? ["wasm"] : [...options.providers],
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
    enableCpuMemArena: options.memoryArena === "on",
    // What fails is thrown as well, and whoever sends tensors that do not fit must not fill the log.
    logSeverityLevel: 4,
  });
  return {
    engine,
    kind: "model",
    inputs: session.inputMetadata.map(infoOf),
    outputs: session.outputMetadata.map(infoOf),
    run: async (feeds, outputs) => {
      const given = Object.fromEntries(
        Object.entries(feeds).map(([name, tensor]) => [name, toRuntime(ort, tensor)]),
      );
      const results = outputs ? await session.run(given, [...outputs]) : await session.run(given);
      const tensors = Object.entries(results).map(
        ([name, value]) => [name, fromRuntime(name, value)] as const,
      );
      return { tensors: Object.fromEntries(tensors) };
    },
    release: () => session.release(),
  };
}

type Runtime = Pick<typeof Ort, "InferenceSession" | "Tensor">;

async function load({ engine, threads }: EngineOptions): Promise<{ engine: EngineName; ort: Runtime }> {
  if (engine !== "wasm") {
    try {
      return { engine: "native", ort: await import("onnxruntime-node") };
    } catch (error) {
      if (engine === "native")
        throw new Error(`the native runtime cannot be loaded here: ${messageOf(error)}`, { cause: error });
    }
  }
  const web = await import("onnxruntime-web");
  // Before the first session, for the whole thread.
  web.env.wasm.numThreads = threads;
  return { engine: "wasm", ort: web };
}

function infoOf(metadata: Ort.InferenceSession.ValueMetadata): TensorInfo {
  const { name } = metadata;
  if (!metadata.isTensor) return { name, type: "none", shape: [] };
  // A dimension without a name is open as well.
  return { name, type: metadata.type, shape: metadata.shape.map((size) => (size === "" ? "?" : size)) };
}

function toRuntime(ort: Runtime, { type, shape, data }: Tensor): Ort.Tensor {
  return new ort.Tensor(type, data, shape);
}

function fromRuntime(name: string, value: Ort.InferenceSession.OnnxValueMapType[string]): Tensor {
  const { type, dims, data } = value as Ort.Tensor;
  if (!isElementType(type) || !ArrayBuffer.isView(data))
    throw new Error(`output ${name} is of type ${type}, which cannot be told here`);
  return { type, shape: dims, data: data as Tensor["data"] };
}
