import { TransientError } from "../core/errors.ts";
import { canonicalJson, isObject } from "../core/json.ts";
import { readJsonBody } from "./json-body.ts";
import { isRefusal, type Refusal } from "./refusal.ts";
import { placeOf, type ScorerConnection, wrongAnswer } from "./scorer-connection.ts";
import type { RemoteSession, Tensors } from "./session.ts";
import type { TensorInfo } from "./tensor.ts";
import { readV2Answer, readV2Metadata, writeV2Request } from "./v2-client.ts";

/** What of an answer shows that the model is another one than its metadata said. */
const ofAnother: readonly Refusal["refusal"][] = ["unknownTensor", "badType", "badShape"];

/** What the metadata tell. */
interface Told {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** A model behind the V2 protocol; tensors are its own, as they would be of a file. */
export class V2Session implements RemoteSession {
  readonly engine = "remote";
  readonly kind = "model";
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly #path: string;
  readonly #connection: ScorerConnection;

  /**
   * Asks the other end whether the model is ready, and what it takes and gives. `output`: where the scores are.
   * @throws TransientError MODEL_UNAVAILABLE; Error with what is wrong with the model
   */
  static async open(
    {
      url,
      model,
      output,
    }: { readonly url: string; readonly model: string; readonly output?: string | undefined },
    connection: ScorerConnection,
    signal: AbortSignal,
  ): Promise<V2Session> {
    const path = `${url.replace(/\/+$/, "")}/v2/models/${encodeURIComponent(model)}`;
    await expectReady(path, connection, signal);
    const { inputs, outputs } = await metadataOf(path, connection, signal);
    const scores = outputs.filter(({ name }) => name === output);
    if (output !== undefined && scores.length === 0)
      throw new Error(`${placeOf(path)}: the model has no output ${JSON.stringify(output)}`);
    const others = outputs.filter((info) => !scores.includes(info));
    return new V2Session(path, inputs, [...scores, ...others], connection);
  }

  private constructor(
    path: string,
    inputs: readonly TensorInfo[],
    outputs: readonly TensorInfo[],
    connection: ScorerConnection,
  ) {
    this.#path = path;
    this.inputs = inputs;
    this.outputs = outputs;
    this.#connection = connection;
  }

  async run(feeds: Tensors, wanted: readonly string[] | undefined, signal: AbortSignal) {
    const url = `${this.#path}/infer`;
    const answer = await this.#connection.askJson(url, writeV2Request(feeds, wanted), signal);
    if (isRefusal(answer)) return answer;
    const infos = wanted ? this.outputs.filter(({ name }) => wanted.includes(name)) : this.outputs;
    const read = readV2Answer(answer.value, infos);
    if (!isRefusal(read)) return read;
    const wrong = wrongAnswer(url, read.message);
    if (ofAnother.includes(read.refusal)) throw new TransientError("MODEL_UNAVAILABLE", wrong.message);
    return wrong;
  }

  async look(signal: AbortSignal): Promise<void> {
    await expectReady(this.#path, this.#connection, signal);
    const told = await metadataOf(this.#path, this.#connection, signal);
    if (identityOf(told) === identityOf(this)) return;
    throw new TransientError("MODEL_UNAVAILABLE", `${placeOf(this.#path)}: the model has other metadata now`);
  }

  async release(): Promise<void> {
    this.#connection.close();
  }
}

/** @throws TransientError MODEL_UNAVAILABLE; Error with what is wrong with them */
async function metadataOf(path: string, connection: ScorerConnection, signal: AbortSignal): Promise<Told> {
  const metadata = await connection.askJson(path, undefined, signal);
  if (isRefusal(metadata)) throw new TransientError("MODEL_UNAVAILABLE", metadata.message);
  const told = readV2Metadata(metadata.value);
  if (isRefusal(told)) throw new Error(`${placeOf(path)}: ${told.message}`);
  return told;
}

/** Whatever the order in which tensors are told. */
function identityOf({ inputs, outputs }: Told): string {
  return JSON.stringify([inputs, outputs].map((infos) => infos.map((info) => canonicalJson(info)).sort()));
}

/** Of the model, and not of the server, which may have others that are not ready. */
async function expectReady(path: string, connection: ScorerConnection, signal: AbortSignal): Promise<void> {
  const ready = await connection.ask(`${path}/ready`, undefined, signal);
  if (isRefusal(ready)) throw new TransientError("MODEL_UNAVAILABLE", ready.message);
  if (saysNo(ready))
    throw new TransientError("MODEL_UNAVAILABLE", `${placeOf(path)}: the model is not ready there`);
}

/** `{"ready": false}`; servers that say it by the status alone send no body. */
function saysNo(body: Buffer): boolean {
  const read = readJsonBody(body);
  return !isRefusal(read) && isObject(read.value) && read.value.ready === false;
}
