import { z } from "zod";
import { brokerLogin, brokerUrl, caFile, ms, secret, urlOf } from "./field-schema.ts";

const hubDeadlines = {
  connectTimeoutMs: ms(100, 29_000).default(20_000),
  sendTimeoutMs: ms(100, 29_000).default(20_000).describe("A send not confirmed by then rebuilds the client"),
  twinTimeoutMs: ms(100, 29_000).default(15_000),
  closeTimeoutMs: ms(100, 3_000).default(2_000),
  trialMs: ms(1_000, 3_600_000)
    .default(120_000)
    .describe("A changed hub section is taken back unless the hub confirms a message within this time"),
};
const upstream = z
  .strictObject({
    state: z
      .enum(["on", "off"])
      .default("on")
      .describe("`off` hands messages over whether edge hub has a way to the cloud or not"),
    url: z
      .url({ protocol: /^http$/, error: "must be an http:// URL" })
      .default("http://edgeHub:9600/metrics")
      .describe("Edge hub's metrics; without them nothing is held back"),
    intervalMs: ms(100, 600_000).default(10_000).describe("Time between looks at them"),
    maxQueueLength: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .optional()
      .describe(
        "Beyond so many messages in edge hub's queue ours wait; without it only while the queue grows",
      ),
  })
  .prefault({})
  .describe("While edge hub is offline or its queue grows, messages wait in the store");
const hubClient = z
  .enum(["direct", "sdk"])
  .default("direct")
  .describe("Who speaks to the hub: `direct` is Headgate itself, `sdk` the Azure IoT device SDK");
const hubTransport = z
  .enum(["mqtt", "websocket"])
  .default("mqtt")
  .describe(
    "`mqtt`: port 8883; `websocket`: MQTT in a WebSocket on port 443, for networks that let nothing else out",
  );
/** Where messages go. */
export const hub = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("edge").describe("IoT Edge module, from the IOTEDGE_* environment"),
    client: hubClient,
    transport: hubTransport,
    upstream,
    ...hubDeadlines,
  }),
  z.strictObject({
    type: z.literal("iothub").describe("Straight to IoT Hub, or through a gateway"),
    client: hubClient,
    transport: hubTransport,
    proxy: urlOf(
      /^https?:\/\/[^@/?#]+\/?$/,
      "must be http://host:port or https://host:port, without a password",
    )
      .optional()
      .describe(
        "HTTP proxy; without it `websocket` takes HTTPS_PROXY of the environment, unless NO_PROXY names the hub",
      ),
    connectionString: secret,
    caFile,
    ...hubDeadlines,
  }),
  z.strictObject({
    type: z.literal("mqtt").describe("Any MQTT 3.1.1 or 5 broker"),
    url: brokerUrl,
    protocolVersion: z.union([z.literal(4), z.literal(5)]).default(4),
    clientId: z.string().min(1).max(128).optional().describe("Default: `headgate-` and the gateway's name"),
    ...brokerLogin,
    topic: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[^#+\p{C}]+$/u, "must be a topic without wildcards")
      .default("headgate/{gateway}/{output}")
      .describe("`{gateway}` and `{output}` are replaced"),
    ...hubDeadlines,
  }),
]);
