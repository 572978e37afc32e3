import { TransientError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import { flatten } from "./score-body.ts";
import { placeOf, type ScorerConnection, wrongAnswer } from "./scorer-connection.ts";
import type { RemoteSession, Tensors } from "./session.ts";
import { shapeText, sizeOf, type Tensor, type TensorInfo } from "./tensor.ts";

/** Rounding may take one a little beyond 1. */
const maxProbability = 1.000_001;

/**
 * A scoring container (github.com/gbaeke/resnet-score): `{"data": N × 3 × height × width}` with values from 0 to 255 in,
 * `{"result": probabilities}` out. It tells nothing of its model: the size of images is configured, and how many classes
 * there are is known from its first answer.
 */
export class ScoreSession implements RemoteSession {
  readonly engine = "remote";
  readonly kind = "scorer";
  readonly inputs: readonly TensorInfo[];
  readonly #url: string;
  readonly #connection: ScorerConnection;
  #classes: number | undefined;

  constructor(
    url: string,
    size: { readonly width: number; readonly height: number },
    connection: ScorerConnection,
  ) {
    this.#url = url;
    this.#connection = connection;
    this.inputs = [{ name: "data", type: "float32", shape: ["N", 3, size.height, size.width] }];
  }

  get outputs(): readonly TensorInfo[] {
    return [{ name: "result", type: "float32", shape: ["N", this.#classes ?? "classes"] }];
  }

  async run({ data: images }: Tensors, _: unknown, signal: AbortSignal) {
    if (!images) return refuse("unknownTensor", "input data is missing");
    const answer = await this.#connection.askJson(this.#url, bodyOf(images), signal);
    if (isRefusal(answer)) return answer;
    const result = this.#read(answer.value, images.shape[0] ?? 1);
    return isRefusal(result) ? result : { tensors: { result } };
  }

  /** Whatever it says to a question that it does not know: somebody is there. */
  async look(signal: AbortSignal): Promise<void> {
    await this.#connection.ask(this.#url, undefined, signal);
  }

  async release(): Promise<void> {
    this.#connection.close();
  }

  #read(answer: unknown, images: number): Tensor | Refusal {
    const wrong = (problem: string) => wrongAnswer(this.#url, problem);
    // The script of containers tells an error of the model so, with status 200.
    if (isObject(answer) && typeof answer.error === "string")
      return refuse(
        "modelFailed",
        `${placeOf(this.#url)}: the scorer failed${this.#connection.said(answer.error)}`,
      );
    if (!isObject(answer) || !Array.isArray(answer.result))
      return wrong("the answer is no object with a list `result`");
    const result = flatten(answer.result, "result");
    if (isRefusal(result)) return wrong(result.message);
    const { shape, data } = result;
    const classes = shape.at(-1) ?? 0;
    // One image may come without its row.
    if (sizeOf(shape) !== images * classes || (shape.length > 1 && shape[0] !== images) || shape.length > 2)
      return wrong(`\`result\` is ${shapeText(shape)} for ${images} images`);
    // It is another one now, and tried anew: whether it fits the labels as well shows there.
    if (this.#classes !== undefined && classes !== this.#classes) {
      const message = `${placeOf(this.#url)}: \`result\` has ${classes} classes, and had ${this.#classes} before`;
      throw new TransientError("MODEL_UNAVAILABLE", message);
    }
    // Comparing so finds what is no number as well.
    const odd = data.find((value) => !(value >= 0 && value <= maxProbability));
    if (odd !== undefined) return wrong(`\`result\` holds ${odd}, which is no probability`);
    this.#classes = classes;
    return { type: "float32", shape: [images, classes], data };
  }
}

/** Row by row: an array of all the numbers would take several times the memory. */
function bodyOf({ shape, data }: Tensor): string {
  const [images = 0, channels = 0, height = 0, width = 0] = shape;
  const list = (count: number, item: (i: number) => string) =>
    `[${Array.from({ length: count }, (_, i) => item(i)).join(",")}]`;
  const row = (at: number) => `[${data.subarray(at * width, (at + 1) * width).join(",")}]`;
  const plane = (at: number) => list(height, (y) => row(at * height + y));
  return `{"data":${list(images, (n) => list(channels, (c) => plane(n * channels + c)))}}`;
}
