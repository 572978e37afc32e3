import { Agent, request } from "node:http";
import { sleep } from "../../test/faults/time.ts";
import { token } from "./scorers.ts";

export interface Call {
  readonly path: string;
  readonly type: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** One request over a connection that is kept; throws when it is not answered with 200. */
export async function send(agent: Agent, url: string, { path, type, headers, body }: Call): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    const call = request(
      `${url}${path}`,
      {
        method: "POST",
        agent,
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": type,
          "content-length": body.length,
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks);
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`${path}: ${response.statusCode} ${text.subarray(0, 200)}`));
        });
      },
    );
    call.on("error", reject);
    call.end(body);
  });
}

export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const beganMs = performance.now();
  await work();
  return performance.now() - beganMs;
};

/** Requests/s of so many clients, each sending the next when it has its answer. */
export async function throughput(url: string, call: Call, clients: number, lastMs: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const endMs = performance.now() + lastMs;
  let answered = 0;
  const beganMs = performance.now();
  const client = async () => {
    while (performance.now() < endMs) {
      await send(agent, url, call);
      answered++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  agent.destroy();
  return (answered * 1_000) / (performance.now() - beganMs);
}

/** How long readings take until they are durable, one every 50 ms; the 99th percentile in ms. */
export async function sensorP99(url: string, lastMs: number): Promise<number> {
  const agent = new Agent({ keepAlive: true });
  const latencies: number[] = [];
  const body = Buffer.from(JSON.stringify({ temperature: 21.5 }));
  const endMs = performance.now() + lastMs;
  while (performance.now() < endMs) {
    const call = { path: "/api/readings?source=line", type: "application/json", body };
    latencies.push(await timed(() => send(agent, url, call)));
    await sleep(50);
  }
  agent.destroy();
  latencies.sort((a, b) => a - b);
  return latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN;
}
