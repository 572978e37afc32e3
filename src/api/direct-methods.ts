import type { JsonValue } from "../core/json.ts";
import type { HubClientEvents } from "../hub/hub-client.ts";
import type { ApiViews } from "./local-api.ts";
import type { PictureRequests } from "./picture-requests.ts";
import type { RegisterWrites } from "./register-writes.ts";

/** A request or an answer has at most 128 KB (learn.microsoft.com, "Understand and invoke direct methods from IoT Hub"). */
const maxAnswerBytes = 128_000;

/**
 * What can be asked from the cloud: the local API's views, and what the local configuration lets be set in field
 * devices; nothing changes the box, that is the twin's.
 * Answers of status 200 are the view; others have a `message`. A view that fails rejects, which is a 500.
 */
export function directMethods(
  views: Pick<ApiViews, "status" | "ledger" | "deadLetters">,
  writes: Pick<RegisterWrites, "answer">,
  pictures: Pick<PictureRequests, "take" | "list" | "upload">,
): NonNullable<HubClientEvents["method"]> {
  const methods: Readonly<Record<string, () => object | Promise<object>>> = {
    getStatus: views.status,
    getLedger: views.ledger,
    getDeadLetters: views.deadLetters,
  };
  return async (name, payload) => {
    if (name === "writeRegister") return await writes.answer(payload);
    if (name === "takePicture") return await pictures.take(payload);
    if (name === "listPictures") return await pictures.list(payload);
    if (name === "uploadPicture") return await pictures.upload(payload);
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (!method) {
      const known = [
        ...Object.keys(methods),
        "writeRegister",
        "takePicture",
        "listPictures",
        "uploadPicture",
      ].join(", ");
      return refusal(404, `there is no method ${JSON.stringify(name)}, but ${known}`);
    }
    const text = JSON.stringify(await method());
    const bytes = Buffer.byteLength(text);
    if (bytes > maxAnswerBytes) {
      const message = `the answer has ${bytes} bytes, and a direct method's at most ${maxAnswerBytes}: ask the local API`;
      return refusal(413, message);
    }
    return { status: 200, payload: JSON.parse(text) as JsonValue };
  };
}

const refusal = (status: number, message: string) => ({ status, payload: { message } });
