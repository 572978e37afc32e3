import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { unpooled } from "../../src/hub/unpooled.ts";

// The library's own writer, as the client calls it.
const { writeToStream } = createRequire(import.meta.url)("mqtt-packet") as {
  writeToStream: (packet: object, stream: object, options: object) => boolean;
};
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const nowhere = { write: () => true, cork: () => undefined, uncork: () => undefined };

/** Bytes of buffers that are left when packets of so many lengths were written, among other small buffers. */
async function leftBy(from: number, to: number, way: (write: () => boolean) => boolean): Promise<number> {
  for (let turn = 0; turn < 20; turn++) {
    await setImmediate();
    collect();
  }
  const before = process.memoryUsage().arrayBuffers;
  const body = Buffer.alloc(to);
  for (let length = from; length < to; length++) {
    const packet = { cmd: "publish", topic: "t", payload: body.subarray(0, length), qos: 1, messageId: 1 };
    way(() => writeToStream(packet, nowhere, {}));
    for (let i = 0; i < 100; i++) Buffer.allocUnsafe(100);
  }
  // What the last collection left to be freed is freed some turns later.
  for (let turn = 0; turn < 20; turn++) {
    await setImmediate();
    collect();
  }
  return process.memoryUsage().arrayBuffers - before;
}

test("packets of a thousand lengths hold no memory, which they do where the pool is used", async () => {
  const pooled = await leftBy(3_000, 5_000, (write) => write());
  const without = await leftBy(6_000, 8_000, unpooled);
  expect(pooled - without).toBeGreaterThan(4_000_000);
  expect(Buffer.poolSize).toBeGreaterThan(0);
});
