import { TransientError } from "../core/errors.ts";
import { isRefusal, type Refusal } from "./refusal.ts";
import { arraysOfElements, isElementType, sizeOf, type Tensor, type TensorInfo } from "./tensor.ts";

export type Tensors = Readonly<Record<string, Tensor>>;

/** A model that is loaded here, or a scorer that answers elsewhere; one call of `run` at a time. */
export interface Session {
  readonly engine: "native" | "wasm" | "remote";
  /**
   * `model`: tensors go in and come out as they are. `scorer`: values from 0 to 255 in, probabilities out; it normalises
   * and makes the soft-max itself.
   */
  readonly kind: "model" | "scorer";
  readonly inputs: readonly TensorInfo[];
  /** The scores of images are the first one. */
  readonly outputs: readonly TensorInfo[];
  /**
   * `outputs`: names of those that are wanted; all when undefined. A runtime blocks the thread it is called in, and runs to
   * its end whatever the signal says; a request to another machine ends with it.
   * @throws Error with what the runtime says; TransientError when the scorer cannot be reached any more
   */
  run(
    feeds: Tensors,
    outputs: readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly tensors: Tensors } | Refusal>;
  release(): Promise<void>;
}

export interface RemoteSession extends Session {
  /**
   * Looks whether it is still there, and the same. @throws TransientError MODEL_UNAVAILABLE when it is not; Error with what
   * is wrong with it now; the signal's reason
   */
  look(signal: AbortSignal): Promise<void>;
}

/** Runs it once on zeros, with open dimensions of 1: a model that cannot run shows here, and not at the first request. */
export async function trySession(session: Session, signal: AbortSignal): Promise<void> {
  const feeds = session.inputs.map(({ name, type, shape }) => {
    if (!isElementType(type)) throw new Error(`input ${name} is of type ${type}, which cannot be given here`);
    const sizes = shape.map((dimension) => (typeof dimension === "number" ? dimension : 1));
    return [name, { type, shape: sizes, data: new arraysOfElements[type](sizeOf(sizes)) }] as const;
  });
  const results = await session.run(Object.fromEntries(feeds), undefined, signal);
  if (!isRefusal(results)) return;
  if (results.refusal === "busy") throw new TransientError("MODEL_UNAVAILABLE", results.message);
  throw new Error(results.message);
}
