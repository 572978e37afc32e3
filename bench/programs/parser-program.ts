/**
 * A subscriber that only parses: MQTT at QoS 1 in, nothing kept, nothing sent. What taking messages costs at least.
 *
 *     node parser-program.js URL FILTER FILE
 *
 * How many came stands in FILE.
 */
import { renameSync, writeFileSync } from "node:fs";
import mqtt from "mqtt";

const [, , url = "", filter = "", file = ""] = process.argv;
let readings = 0;

const client = mqtt.connect(url, { protocolVersion: 4, clientId: "parser", clean: true });
client.on("connect", () => client.subscribe(filter, { qos: 1 }));
client.on("message", (_topic, payload) => {
  const reading = JSON.parse(payload.toString("utf8")) as Record<string, unknown>;
  if (typeof reading.device === "string") readings++;
});

setInterval(() => {
  writeFileSync(`${file}.new`, String(readings));
  renameSync(`${file}.new`, file);
}, 250);
process.on("SIGTERM", () => process.exit(0));
