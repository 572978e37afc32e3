import type { IncomingMessage, ServerResponse } from "node:http";
import type { KeptPictures } from "../pictures/kept-pictures.ts";
import { ApiError } from "./api-error.ts";
import { type Answer, type Endpoint, jsonAnswer } from "./endpoint.ts";

const mostListed = 100;
const onePicture = /^\/api\/pictures\/([^/]+)\/([^/]+)$/;

/** The pictures that image sources keep. */
export class PictureEndpoints {
  readonly #kept: KeptPictures;

  constructor(kept: KeptPictures) {
    this.#kept = kept;
  }

  /** For messages. */
  get paths(): readonly string[] {
    return ["/api/pictures", "/api/pictures/{source}/{name}"];
  }

  find(pathname: string): Endpoint | undefined {
    if (pathname === "/api/pictures") return { method: "GET", answer: (...call) => this.#list(...call) };
    const [, source, name] = onePicture.exec(pathname) ?? [];
    if (source === undefined || name === undefined) return undefined;
    return { method: "GET", answer: () => this.#one(source, name) };
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

  async #one(source: string, name: string): Promise<Answer> {
    const picture = await this.#kept.read(source, name);
    if (!picture) throw new ApiError(404, "notFound", `no picture ${name} of ${source} is kept`);
    const headers = { "x-content-type-options": "nosniff" };
    return { status: 200, type: picture.type, body: picture.bytes, headers };
  }
}
