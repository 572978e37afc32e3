import { isObject, type JsonValue } from "../core/json.ts";
import type { MethodAnswer } from "../hub/hub-client.ts";
import type { PictureTaken } from "../sources/source-set.ts";

/** Within the 30 s that callers of direct methods wait unless they say otherwise. */
const deadlineMs = 25_000;

/** The direct method `takePicture`: one picture of a camera with a URL, now. */
export class PictureRequests {
  readonly #take: (source: string, signal: AbortSignal) => Promise<PictureTaken>;

  constructor(take: (source: string, signal: AbortSignal) => Promise<PictureTaken>) {
    this.#take = take;
  }

  async take(payload: JsonValue): Promise<MethodAnswer> {
    const { source, ...more } = isObject(payload) ? payload : {};
    if (typeof source !== "string" || Object.keys(more).length > 0)
      return refusal(400, `send {"source": "…"}, and nothing else`);
    const taken = await this.#take(source, AbortSignal.timeout(deadlineMs));
    switch (taken.kind) {
      case "taken":
        return { status: 200, payload: { source, scores: taken.scores } };
      case "unknownSource":
        return refusal(404, `there is no source of type imageUrl ${JSON.stringify(source)} that is on`);
      case "failed":
        return refusal(503, taken.message);
      case "late":
        return refusal(504, "no picture came in time; one may still come");
      default:
        return taken satisfies never;
    }
  }
}

const refusal = (status: number, message: string) => ({ status, payload: { message } });
