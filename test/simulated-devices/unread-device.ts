// Run as a process of its own: a device whose listener reads nothing must keep neither it nor its exit waiting.
import { closeSync, constants, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { startSimulatedField } from "../../src/simulated-devices/simulated-field.ts";

const [directory = "", ending = ""] = process.argv.slice(2);
// Whatever becomes of the test that started it, it ends.
setTimeout(() => process.exit(2), 25_000).unref();
const field = await startSimulatedField({
  directory,
  devices: [{ name: "oven", device: "oven-1", baudRate: 10_000_000, intervalMs: 0, pauseEvery: 0 }],
});
const port = openSync(`${directory}/tty-oven`, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
const counts = () => field.sensors.get("oven")?.counts;
while ((counts()?.lines ?? 0) === 0) await delay(5);
const heard = counts()?.dropped ?? 0;
while ((counts()?.dropped ?? 0) < heard + 50) await delay(5);
if (ending === "exit") process.exit(0);
await field.stop();
closeSync(port);
process.stdout.write(JSON.stringify(counts()));
