import { isRefusal, type Refusal } from "./refusal.ts";
import type { Session } from "./session.ts";
import { type Images, imagesOf, type Outcome, score, type Task } from "./task.ts";
import type { Opened } from "./thread-protocol.ts";

export type ImageTask = Exclude<Task, { readonly kind: "v2" | "feed" }>;
/** What became of a task, or what the runtime threw at it. */
export type Done = { readonly outcome: Outcome } | { readonly error: unknown };

interface Member {
  /** Which of the tasks. */
  readonly at: number;
  readonly images: Images;
}

const never = new AbortController().signal;

/** Whether several tasks can go through the model in one run: it says that it takes any number of images. */
export const takesBatches = ({ engine, inputs, outputs }: Opened): boolean =>
  engine !== "remote" && [inputs[0], outputs[0]].every((tensor) => typeof tensor?.shape[0] === "string");

/** Dynamic batching: images of one size go through the model in one run. In the order of the tasks. */
export async function performTogether(
  session: Session,
  tasks: readonly ImageTask[],
  nowMs: () => number,
): Promise<readonly Done[]> {
  const beganMs = nowMs();
  const done: Done[] = [];
  const sizes = new Map<string, Member[]>();
  for (const [at, task] of tasks.entries()) {
    const images = read(session, task);
    if ("error" in images || isRefusal(images)) {
      done[at] = "error" in images ? images : { outcome: images };
      continue;
    }
    const size = images.shape.slice(1).join();
    sizes.set(size, [...(sizes.get(size) ?? []), { at, images }]);
  }
  for (const members of sizes.values()) {
    const outcomes = members.length > 1 ? await together(session, members, beganMs, nowMs) : undefined;
    for (const [i, { at, images }] of members.entries()) {
      const outcome = outcomes?.[i];
      // What the runtime fails at may be one of them, and is told of that one only.
      done[at] = outcome ? { outcome } : await alone(session, images, beganMs, nowMs);
    }
  }
  return done;
}

function read(session: Session, task: ImageTask): Images | Refusal | { readonly error: unknown } {
  try {
    return imagesOf(session, task);
  } catch (error) {
    return { error };
  }
}

async function alone(session: Session, images: Images, beganMs: number, nowMs: () => number): Promise<Done> {
  try {
    return { outcome: await score(session, images, beganMs, nowMs, never) };
  } catch (error) {
    return { error };
  }
}

/** One run for all of them; undefined when that does not go well. */
async function together(
  session: Session,
  members: readonly Member[],
  beganMs: number,
  nowMs: () => number,
): Promise<readonly Outcome[] | undefined> {
  const counts = members.map(({ images }) => images.shape[0] ?? 0);
  const shape = [counts.reduce((sum, count) => sum + count, 0), ...(members[0]?.images.shape.slice(1) ?? [])];
  const data = new Float32Array(members.reduce((sum, { images }) => sum + images.data.length, 0));
  let end = 0;
  for (const { images } of members) {
    data.set(images.data, end);
    end += images.data.length;
  }
  const all = await alone(session, { shape, data }, beganMs, nowMs);
  if (!("outcome" in all) || isRefusal(all.outcome) || all.outcome.kind !== "probabilities") return undefined;
  const { probabilities, ...rest } = all.outcome;
  let row = 0;
  return counts.map((count) => {
    const from = row * rest.classes;
    row += count;
    return { ...rest, probabilities: probabilities.slice(from, row * rest.classes) };
  });
}
