import type { EngineOptions } from "./engine.ts";
import type { RemotePlace } from "./remote-session.ts";
import type { Session } from "./session.ts";
import type { Outcome, Task } from "./task.ts";
import type { TensorInfo } from "./tensor.ts";

/** What a model's thread is started with: the file of a model, or where a scorer is. */
export type ThreadOptions = (EngineOptions & { readonly path: string }) | RemotePlace;

/** What is known of a model once it is loaded, or was found elsewhere, and was tried. */
export interface Opened {
  readonly engine: Session["engine"];
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

export type ToThread =
  | { readonly id: number; readonly task: Task }
  /** Nobody waits for this task any more. */
  | { readonly cancel: number }
  | "end";

export type FromThread =
  | { readonly opened: Opened }
  /** The runtime does not take the model, or the scorer's answers are none, and why. */
  | { readonly refused: string }
  /** The scorer cannot be reached, or not any more; the thread ends. */
  | { readonly unavailable: string }
  | { readonly id: number; readonly outcome: Outcome }
  /** The runtime failed at a task; the model stays loaded. */
  | { readonly id: number; readonly failed: string };
