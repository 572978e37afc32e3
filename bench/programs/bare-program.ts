/**
 * The bare program: MQTT at QoS 1 in, means per device and second out at QoS 1, nothing stored. What anybody would
 * write first; the price of being durable is told as a multiple of it.
 *
 *     node bare-program.js URL FILTER PREFIX
 */
import mqtt from "mqtt";

const [, , url = "", filter = "", prefix = ""] = process.argv;
const sizeMs = 1_000;

interface Mean {
  sum: number;
  count: number;
}
let windows = new Map<string, { count: number; channels: Map<string, Mean> }>();

const client = mqtt.connect(url, { protocolVersion: 4, clientId: "bare", clean: true });
client.on("connect", () => client.subscribe(filter, { qos: 1 }));
client.on("message", (_topic, payload) => {
  const reading = JSON.parse(payload.toString("utf8")) as Record<string, unknown>;
  const device = String(reading.device);
  let window = windows.get(device);
  if (!window) {
    window = { count: 0, channels: new Map() };
    windows.set(device, window);
  }
  window.count++;
  for (const [channel, value] of Object.entries(reading)) {
    if (typeof value !== "number" || channel === "seq") continue;
    const mean = window.channels.get(channel);
    if (mean) {
      mean.sum += value;
      mean.count++;
    } else window.channels.set(channel, { sum: value, count: 1 });
  }
});

function close(endMs: number): void {
  const closed = windows;
  windows = new Map();
  for (const [device, { count, channels }] of closed) {
    const means = Object.fromEntries([...channels].map(([name, { sum, count: n }]) => [name, sum / n]));
    const body = { device, windowEnd: new Date(endMs).toISOString(), count, ...means };
    client.publish(`${prefix}/${device}`, JSON.stringify(body), { qos: 1 });
  }
  const nextMs = (Math.floor(Date.now() / sizeMs) + 1) * sizeMs;
  setTimeout(() => close(nextMs), nextMs - Date.now());
}
close(0);
process.on("SIGTERM", () => process.exit(0));
