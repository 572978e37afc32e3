/**
 * Loaded into a process with `--import`, and by that into each of its threads: tells every ten seconds what V8 holds,
 * a JSON line per thread in the file HEADGATE_HEAP_REPORT. It says where to look when the RSS grows.
 * With HEADGATE_HEAP_COLLECT the garbage is collected first: what grows then is held by somebody.
 */
import { appendFileSync } from "node:fs";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { threadId } from "node:worker_threads";

const file = process.env.HEADGATE_HEAP_REPORT;

function collector(): () => void {
  if (process.env.HEADGATE_HEAP_COLLECT === undefined) return () => undefined;
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}

function report(path: string, collect: () => void): void {
  collect();
  const heap = getHeapStatistics();
  const { external, arrayBuffers } = process.memoryUsage();
  const line = {
    atMs: Date.now(),
    thread: threadId,
    used: heap.used_heap_size,
    total: heap.total_heap_size,
    malloced: heap.malloced_memory,
    external,
    arrayBuffers,
    contexts: heap.number_of_native_contexts,
  };
  appendFileSync(path, `${JSON.stringify(line)}\n`);
}

if (file !== undefined) {
  const collect = collector();
  setInterval(() => report(file, collect), 10_000).unref();
}
