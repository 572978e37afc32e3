/**
 * Writes a packet with buffers outside of Node's shared pool. `mqtt-packet` keeps the bytes of every packet length below
 * 16,384 that it ever wrote (`varByteIntCache` in its `writeToStream.js`), and a few bytes that are kept hold the 8 KiB
 * of the pool that they were cut from: 12,000 lengths held 99 MB, and hold none this way.
 * `write` must write at once, not later.
 */
export function unpooled<T>(write: () => T): T {
  const { poolSize } = Buffer;
  Buffer.poolSize = 0;
  try {
    return write();
  } finally {
    Buffer.poolSize = poolSize;
  }
}
