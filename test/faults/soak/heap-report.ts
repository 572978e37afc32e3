/**
 * Loaded into a process with `--import`, and by that into each of its threads: tells every ten seconds what V8 holds,
 * a JSON line per thread in the file HEADGATE_HEAP_REPORT. It says where to look when the RSS grows.
 */
import { appendFileSync } from "node:fs";
import { getHeapStatistics } from "node:v8";
import { threadId } from "node:worker_threads";

const file = process.env.HEADGATE_HEAP_REPORT;

function report(path: string): void {
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

if (file !== undefined) setInterval(() => report(file), 10_000).unref();
