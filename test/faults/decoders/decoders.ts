import { Worker } from "node:worker_threads";
import type { Part, PartResult } from "../part.ts";
import type { FuzzNews, FuzzOrder } from "./fuzz-thread.ts";

/** A round is so many inputs for each decoder. */
const inputsPerRound = 1_000;
const defaultRounds = 1_000;

/** Far more than a thousand inputs take on any machine. */
const patienceMs = 60_000;

/**
 * Every format, every driver and every framer gets noise, good frames that something happened to, and words of its own
 * language. What must hold: it neither throws nor goes on for ever, what it gives are finite values of plain names, of
 * channels that a driver declares, a framer tells every byte, whatever the pieces, and holds no more than its limit, one
 * wrong bit never gives another value or frame where there is a checksum, and nothing stays behind.
 */
export const decoders: Part = {
  name: "decoders",
  about: "any bytes at all for every format, every driver and every framer",
  run: async ({ random, rounds = defaultRounds, say }) => {
    const order: FuzzOrder = { inputs: rounds * inputsPerRound, seed: Math.floor(random() * 2 ** 31) };
    const totals = { decoders: 0, inputs: 0, decoded: 0, discarded: 0 };
    const problems: string[] = [];
    const worker = new Worker(new URL("fuzz-thread.ts", import.meta.url), { workerData: order });
    let last: FuzzNews | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const silent = () => {
          const at = last ? `${last.name}, behind input ${last.count}` : "the first decoder";
          problems.push(
            `${at} (seed ${order.seed}): no end within ${patienceMs} ms; the others were not tried`,
          );
          resolve();
        };
        let timer = setTimeout(silent, patienceMs);
        worker.on("message", (news: FuzzNews) => {
          clearTimeout(timer);
          timer = setTimeout(silent, patienceMs);
          last = news;
          if (!news.result) return;
          const { inputs, decoded, discarded, heapGrowthBytes } = news.result;
          totals.decoders++;
          totals.inputs += inputs;
          totals.decoded += decoded;
          totals.discarded += discarded;
          problems.push(...news.result.problems);
          const grown = Math.round(heapGrowthBytes / 1_024);
          say(
            `${news.name}: ${inputs} inputs, ${decoded} decoded, ${discarded} discarded, heap ${grown} KiB`,
          );
        });
        worker.once("error", (error) => {
          clearTimeout(timer);
          reject(error);
        });
        worker.once("exit", () => {
          clearTimeout(timer);
          resolve();
        });
      });
    } finally {
      await worker.terminate();
    }
    return { counts: totals, problems } satisfies PartResult;
  },
};
