/** The one private part of `mqtt` that is used, the same in 5.16.0 and in the SDK's 4.3.8: everything the client sends passes here. */
interface Sender {
  _sendPacket(packet: { cmd: string; messageId?: number }, done?: () => void, ...more: unknown[]): void;
}

/**
 * `client`: one of `mqtt`, which acknowledges a message on receipt, or lets no packet come before it has; so its PUBACKs
 * are caught on the way out. Returns what sends them later.
 */
export function catchPubacks(
  client: object,
  caught: (messageId: number | undefined) => void,
): (messageId: number) => void {
  const sender = client as Sender;
  const send = sender._sendPacket.bind(sender);
  sender._sendPacket = (packet, done, ...more) => {
    if (packet.cmd !== "puback") return send(packet, done, ...more);
    caught(packet.messageId);
    done?.();
  };
  return (messageId) => send({ cmd: "puback", messageId });
}
