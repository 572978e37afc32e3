/** The thread that fuzzes: the part watches it, because a decoder that does not end would stop everything. */
import { parentPort, workerData } from "node:worker_threads";
import { type FuzzResult, fuzz } from "./fuzz.ts";
import { fuzzedDecoders } from "./fuzzed-decoders.ts";
import { fuzzedFramers } from "./fuzzed-framers.ts";
import { judgedDecoder } from "./judged-decoder.ts";

export interface FuzzOrder {
  readonly inputs: number;
  readonly seed: number;
}
/** `undefined` is a sign of life. */
export interface FuzzNews {
  readonly name: string;
  readonly count: number;
  readonly result: FuzzResult | undefined;
}

const { inputs, seed } = workerData as FuzzOrder;
const tell = (news: FuzzNews) => parentPort?.postMessage(news);
for (const fuzzed of [...fuzzedDecoders().map(judgedDecoder), ...fuzzedFramers()]) {
  const { name } = fuzzed;
  const result = fuzz(fuzzed, inputs, seed, (count) => tell({ name, count, result: undefined }));
  tell({ name, count: result.inputs, result });
}
