import type { EngineName, EngineOptions } from "./engine.ts";
import type { Outcome, Task } from "./task.ts";
import type { TensorInfo } from "./tensor.ts";

/** What a model's thread is started with. */
export interface ThreadOptions extends EngineOptions {
  /** File of the model. */
  readonly path: string;
}

/** What is known of a model once it is loaded and was tried. */
export interface Opened {
  readonly engine: EngineName;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

export type ToThread = { readonly id: number; readonly task: Task } | "end";

export type FromThread =
  | { readonly opened: Opened }
  /** The runtime does not take the model, and why. */
  | { readonly refused: string }
  | { readonly id: number; readonly outcome: Outcome }
  /** The runtime failed at a task; the model stays loaded. */
  | { readonly id: number; readonly failed: string };
