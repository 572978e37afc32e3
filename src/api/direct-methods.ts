import type { JsonValue } from "../core/json.ts";
import type { HubClientEvents, MethodAnswer } from "../hub/hub-client.ts";
import type { ApiViews } from "./local-api.ts";
import type { PictureRequests } from "./picture-requests.ts";
import type { RegisterWrites } from "./register-writes.ts";

/** A request or an answer has at most 128 KB (learn.microsoft.com, "Understand and invoke direct methods from IoT Hub"). */
export const maxAnswerBytes = 128_000;

type Method = (payload: JsonValue) => Promise<MethodAnswer>;

/**
 * What can be asked from the cloud: the local API's views, what the local configuration lets be set in field devices,
 * and pictures; nothing changes the box, that is the twin's.
 * Answers of status 200 are what was asked for; others have a `message`. A method that fails rejects, which is a 500.
 */
export function directMethods(
  views: Pick<ApiViews, "status" | "ledger" | "deadLetters">,
  writes: Pick<RegisterWrites, "answer">,
  pictures: Pick<PictureRequests, "take" | "list" | "upload">,
): NonNullable<HubClientEvents["method"]> {
  const methods: Readonly<Record<string, Method>> = {
    getStatus: telling(views.status),
    getLedger: telling(views.ledger),
    getDeadLetters: telling(views.deadLetters),
    writeRegister: (payload) => writes.answer(payload),
    takePicture: (payload) => pictures.take(payload),
    listPictures: (payload) => pictures.list(payload),
    uploadPicture: (payload) => pictures.upload(payload),
  };
  return async (name, payload) => {
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (method) return await method(payload);
    const known = Object.keys(methods).join(", ");
    return refusal(404, `there is no method ${JSON.stringify(name)}, but ${known}`);
  };
}

/** A view, whatever the payload, as far as it fits into an answer. */
function telling(view: () => object | Promise<object>): Method {
  return async () => {
    const text = JSON.stringify(await view());
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxAnswerBytes) return { status: 200, payload: JSON.parse(text) as JsonValue };
    const message = `the answer has ${bytes} bytes, and a direct method's at most ${maxAnswerBytes}: ask the local API`;
    return refusal(413, message);
  };
}

const refusal = (status: number, message: string) => ({ status, payload: { message } });
