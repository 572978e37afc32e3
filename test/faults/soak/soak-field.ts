/**
 * A broker and its publisher, in a process of their own: numbered readings at a steady rate, QoS 1, with a bound for
 * what is not answered yet. Says on the IPC channel how much was sent and answered.
 */
import { createServer } from "node:net";
import { Aedes } from "aedes";
import mqtt from "mqtt";

const rate = Number(process.argv[2]);
const devices = Number(process.argv[3]);
const maxInFlight = 2_000;
const stepMs = 10;

const aedes = await Aedes.createBroker();
const server = createServer((socket) => {
  socket.setNoDelay(true);
  aedes.handle(socket);
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as { port: number };

let sent = 0;
let answered = 0;
let isSending = false;
const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { writeCache: false });

function publish(): void {
  const seq = sent++;
  const device = seq % devices;
  const temperature = 20 + ((seq * 7919) % 1_000) / 100;
  const pressure = 1_000 + ((seq * 104_729) % 500) / 10;
  const payload = JSON.stringify({ seq, temperature, pressure, humidity: seq % 100, note: "x".repeat(60) });
  client.publish(`field/device-${device}/data`, payload, { qos: 1 }, (error) => {
    if (error) throw error;
    answered++;
  });
}

/** What a step could not send, because too much was unanswered, is sent in the next ones. */
function run(): void {
  const startedMs = performance.now();
  const before = sent;
  const timer = setInterval(() => {
    if (!isSending) {
      clearInterval(timer);
      return;
    }
    const due = before + Math.floor(((performance.now() - startedMs) * rate) / 1_000);
    while (sent < due && sent - answered < maxInFlight) publish();
  }, stepMs);
}

process.on("message", (order: "start" | "stop") => {
  isSending = order === "start";
  if (isSending) run();
});
setInterval(() => process.send?.({ port, sent, answered, isSending }), 500);
process.on("disconnect", () => process.exit());
