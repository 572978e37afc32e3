import { request } from "../core/http.ts";
import { isObject, type JsonObject } from "../core/json.ts";

/** What every version of the IoT Edge security daemon knows. */
const apiVersion = "2018-06-28";
const maxAnswerBytes = 1_048_576;

/** The IoT Edge workload API of one module: `unix:///path` or `http://host:port`. */
export class WorkloadApi {
  readonly #uri: string;
  readonly #module: string;

  constructor(uri: string, moduleId: string, generationId: string) {
    this.#uri = uri;
    this.#module = `/modules/${encodeURIComponent(moduleId)}/genid/${encodeURIComponent(generationId)}`;
  }

  /** HMAC-SHA256 with the module's key, base64. */
  async sign(text: string, signal: AbortSignal): Promise<string> {
    const body = { keyId: "primary", algo: "HMACSHA256", data: Buffer.from(text).toString("base64") };
    const { digest } = await this.#call("POST", `${this.#module}/sign`, body, signal);
    if (typeof digest !== "string") throw new Error("the workload API signed without a digest");
    return digest;
  }

  /** PEM of the authorities to trust. */
  async trustBundle(signal: AbortSignal): Promise<string> {
    const { certificate } = await this.#call("GET", "/trust-bundle", undefined, signal);
    if (typeof certificate !== "string")
      throw new Error("the workload API's trust bundle has no certificate");
    return certificate;
  }

  #call(
    method: string,
    path: string,
    body: JsonObject | undefined,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    const payload = body === undefined ? "" : JSON.stringify(body);
    const url = new URL(this.#uri);
    const address =
      url.protocol === "unix:"
        ? { socketPath: decodeURIComponent(url.pathname) }
        : { hostname: url.hostname, port: url.port };
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(payload) };
    return new Promise((resolve, reject) => {
      const options = {
        ...address,
        method,
        path: `${path}?api-version=${apiVersion}`,
        headers,
        signal,
        agent: false,
      };
      const outgoing = request(options, (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > maxAnswerBytes) outgoing.destroy(new Error("the workload API's answer is too large"));
          else chunks.push(chunk);
        });
        answer.on("error", reject);
        answer.on("end", () => {
          try {
            const parsed: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"));
            if (answer.statusCode !== 200 || !isObject(parsed)) throw new Error(said(parsed));
            resolve(parsed);
          } catch (cause) {
            const reason = cause instanceof Error ? cause.message : String(cause);
            reject(new Error(`the workload API answered ${answer.statusCode}: ${reason}`, { cause }));
          }
        });
      });
      outgoing.on("error", (cause) => reject(new Error(`the workload API: ${cause.message}`, { cause })));
      outgoing.end(payload);
    });
  }
}

/** Errors come as `{"message": …}`. */
function said(answer: unknown): string {
  return isObject(answer) && typeof answer.message === "string" ? answer.message : "not an object";
}
