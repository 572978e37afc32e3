import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type ClientPacket,
  connack,
  MqttProtocolError,
  PacketReader,
  pingresp,
  puback,
  publish,
  suback,
  unsuback,
} from "../../src/embedded-hub/mqtt-codec.ts";

function read(hex: string, limit = 262_144): ClientPacket[] {
  return [...new PacketReader(limit).read(Buffer.from(hex.replaceAll(" ", ""), "hex"))];
}

/** CONNECT with user name "u", password "p", client "c", keep-alive 10, clean session. */
const connectHex = "10 13 0004 4d515454 04 c2 000a 0001 63 0001 75 0001 70";

describe("reading packets", () => {
  test("a CONNECT with user name and password", () => {
    expect(read(connectHex)).toEqual([
      {
        type: "connect",
        protocolName: "MQTT",
        protocolLevel: 4,
        clean: true,
        keepAliveSeconds: 10,
        clientId: "c",
        will: undefined,
        username: "u",
        password: "p",
      },
    ]);
  });

  test("a CONNECT with a will, without clean session", () => {
    const [packet] = read("10 14 0004 4d515454 04 04 003c 0001 63 0001 77 0002 6869");
    expect(packet).toMatchObject({
      clean: false,
      will: { topic: "w", payload: Buffer.from("hi") },
      username: undefined,
    });
  });

  test("a PUBLISH of QoS 0 has no packet identifier, one of QoS 1 has", () => {
    expect(read("30 05 0003 612f62")).toMatchObject([
      { topic: "a/b", qos: 0, packetId: 0, payload: Buffer.alloc(0) },
    ]);
    expect(read("3b 08 0003 612f62 0007 ff")).toMatchObject([
      { topic: "a/b", qos: 1, dup: true, retain: true, packetId: 7, payload: Buffer.from([0xff]) },
    ]);
  });

  test("SUBSCRIBE, UNSUBSCRIBE, PUBACK, PINGREQ, DISCONNECT in one chunk", () => {
    expect(read("82 08 0001 0003 612f23 01 a2 07 0002 0003 612f23 40 02 0009 c000 e000")).toEqual([
      { type: "subscribe", packetId: 1, filters: [{ filter: "a/#", qos: 1 }] },
      { type: "unsubscribe", packetId: 2, filters: ["a/#"] },
      { type: "puback", packetId: 9 },
      { type: "pingreq" },
      { type: "disconnect" },
    ]);
  });

  test("any split of the same bytes gives the same packets", () => {
    const messages = fc.array(
      fc.record({
        topic: fc.stringMatching(/^[a-z/$&=%]{1,40}$/),
        payload: fc.uint8Array({ maxLength: 300 }),
      }),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(messages, fc.infiniteStream(fc.integer({ min: 1, max: 50 })), (list, sizes) => {
        const bytes = Buffer.concat(
          list.map(({ topic, payload }, index) =>
            publish({ topic, payload: Buffer.from(payload), qos: 1, packetId: index + 1 }),
          ),
        );
        const reader = new PacketReader(262_144);
        const packets: ClientPacket[] = [];
        for (let at = 0; at < bytes.length; ) {
          const size = sizes.next().value ?? 1;
          packets.push(...reader.read(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(packets).toEqual([...new PacketReader(262_144).read(bytes)]);
        expect(packets).toMatchObject(
          list.map(({ topic, payload }, index) => ({
            topic,
            payload: Buffer.from(payload),
            packetId: index + 1,
          })),
        );
      }),
    );
  });

  test("any bytes at all end in packets or a protocol error, never in anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          for (const packet of new PacketReader(1_000).read(Buffer.from(bytes)))
            expect(packet.type).toBeDefined();
        } catch (error) {
          expect(error).toBeInstanceOf(MqttProtocolError);
        }
      }),
    );
  });

  test.each([
    ["packet identifier 0", "32 07 0003 612f62 0000"],
    ["a topic with a wildcard", "30 05 0003 612f23"],
    ["QoS 3", "36 07 0003 612f62 0001"],
    ["a SUBSCRIBE without a filter", "82 02 0001"],
    ["reserved header flags", "80 08 0001 0003 612f23 01"],
    ["a topic that is not UTF-8", "30 04 0002 c328"],
    ["a topic with U+0000", "30 05 0003 610062"],
    ["a field that ends after its packet", "30 03 0009 61"],
    ["a CONNACK from a client", "20 02 0000"],
    ["a remaining length of five bytes", "30 ff ff ff ff 01"],
  ])("%s is malformed", (_name, hex) => {
    expect(() => read(hex)).toThrow(
      expect.objectContaining({ name: "MqttProtocolError", code: "malformed" }),
    );
  });

  test("a packet above the limit is refused from its header, before its body is there", () => {
    expect(() => read("30 8108", 1_024)).toThrow(expect.objectContaining({ code: "tooLarge" }));
    expect(read("30 8008", 1_024)).toEqual([]);
  });
});

describe("writing packets", () => {
  test("acknowledgements", () => {
    expect(connack(0, true).toString("hex")).toBe("20020100");
    expect(connack(5, true).toString("hex")).toBe("20020005");
    expect(puback(0x1234).toString("hex")).toBe("40021234");
    expect(suback(1, [0, 1, 0x80]).toString("hex")).toBe("90050001000180");
    expect(unsuback(2).toString("hex")).toBe("b0020002");
    expect(pingresp.toString("hex")).toBe("d000");
  });

  test("a PUBLISH whose length takes two bytes", () => {
    const bytes = publish({ topic: "t", payload: Buffer.alloc(200, 1), qos: 1, dup: true, packetId: 3 });
    expect(bytes.subarray(0, 8).toString("hex")).toBe("3acd01000174" + "0003");
    expect(bytes.length).toBe(3 + 205);
  });
});
