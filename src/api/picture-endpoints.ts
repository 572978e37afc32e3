import type { IncomingMessage, ServerResponse } from "node:http";
import type { KeptPictures } from "../pictures/kept-pictures.ts";
import { ApiError, retryAfter } from "./api-error.ts";
import { type Answer, type Endpoint, jsonAnswer } from "./endpoint.ts";
import { BodyRoom, isComing } from "./request-body.ts";

const mostListed = 100;
/** Of pictures on their way to clients; a larger one goes alone. */
const maxAnswerBytes = 33_554_432;
/** A client that takes nothing for so long is cut off: others want the room. */
const stalledMs = 30_000;
const onePicture = /^\/api\/pictures\/([^/]+)\/([^/]+)$/;

/** The pictures that image sources keep. */
export class PictureEndpoints {
  readonly #kept: KeptPictures;
  readonly #room = new BodyRoom(maxAnswerBytes);
  readonly #stalledMs: number;

  constructor(kept: KeptPictures, patienceMs = stalledMs) {
    this.#kept = kept;
    this.#stalledMs = patienceMs;
  }

  /** For messages. */
  get paths(): readonly string[] {
    return ["/api/pictures", "/api/pictures/{source}/{name}"];
  }

  find(pathname: string): Endpoint | undefined {
    if (pathname === "/api/pictures") return { method: "GET", answer: (...call) => this.#list(...call) };
    const [, source, name] = onePicture.exec(pathname) ?? [];
    if (source === undefined || name === undefined) return undefined;
    return { method: "GET", answer: (request) => this.#one(request, source, name) };
  }

  async #list(_: IncomingMessage, __: ServerResponse, { searchParams }: URL): Promise<Answer> {
    const limit = Number(searchParams.get("limit") ?? 20);
    if (!Number.isInteger(limit) || limit < 1 || limit > mostListed)
      throw new ApiError(400, "badRequest", `limit must be a number from 1 to ${mostListed}`);
    const [source, before] = [
      searchParams.get("source") ?? undefined,
      searchParams.get("before") ?? undefined,
    ];
    return jsonAnswer({ pictures: await this.#kept.list(source, before, limit) });
  }

  async #one(request: IncomingMessage, source: string, name: string): Promise<Answer> {
    if (isComing(request)) throw new ApiError(400, "badRequest", "send no body when you ask for a picture");
    const unknown = () => new ApiError(404, "notFound", `no picture ${name} of ${source} is kept`);
    const bytes = await this.#kept.size(source, name);
    if (bytes === undefined) throw unknown();
    this.#hold(request, Math.min(bytes, maxAnswerBytes));
    const picture = await this.#kept.read(source, name);
    if (!picture) throw unknown();
    const headers = { "x-content-type-options": "nosniff" };
    return { status: 200, type: picture.type, body: picture.bytes, headers };
  }

  /** Takes room until the answer is sent or its connection gone. @throws ApiError 503 without room */
  #hold(request: IncomingMessage, bytes: number): void {
    if (request.destroyed || !this.#room.take(bytes))
      throw new ApiError(503, "busy", "too many pictures are being sent", retryAfter(1));
    // Node closes a request behind its answer, and with its connection. An answer that waits behind others of the
    // connection, and never gets its turn, is not closed at all.
    request.once("close", () => this.#room.giveBack(bytes));
    request.setTimeout(this.#stalledMs);
  }
}
