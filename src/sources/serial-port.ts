import { SerialPort } from "serialport";
import type { SerialSourceConfig } from "../config/schema.ts";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";

export const openTimeoutMs = 5_000;
const closeTimeoutMs = 2_000;

export type SerialPortSettings = Pick<
  SerialSourceConfig,
  "path" | "baudRate" | "dataBits" | "stopBits" | "parity" | "flowControl"
>;

/** Not open yet. */
export function serialPort(settings: SerialPortSettings): SerialPort {
  const { path, baudRate, dataBits, stopBits, parity, flowControl } = settings;
  const xon = flowControl === "software";
  const rtscts = flowControl === "hardware";
  return new SerialPort({
    path,
    baudRate,
    dataBits,
    stopBits,
    parity,
    rtscts,
    xon,
    xoff: xon,
    autoOpen: false,
  });
}

export function openPort(port: SerialPort): Promise<void> {
  return new Promise((resolve, reject) => port.open((error) => (error ? reject(error) : resolve())));
}

/**
 * Releases the port. An open that outlived its deadline is closed as soon as it succeeds: left alone it would hold
 * the port's lock, and nobody could open the port again.
 */
export async function closePort(port: SerialPort, opening: Promise<void> | undefined): Promise<void> {
  port.removeAllListeners("data");
  const closed = (async () => {
    await opening?.catch(() => undefined);
    if (port.isOpen) await new Promise<void>((resolve) => port.close(() => resolve()));
  })();
  await within(closed, closeTimeoutMs, "closing the serial port").catch(() => undefined);
}

export function openFailure(
  path: string,
  error: unknown,
): { readonly state: "absent" | "failed"; readonly reason: string } {
  // The port is locked by whoever opens it (flock).
  const text = messageOf(error).replace(/^.*Cannot lock port$/, "another process has it open");
  const reason = `opening serial port ${path}: ${text.replace(/^Error: /, "").replace(/, cannot open .*$/, "")}`;
  return { state: /No such file or directory|No such device/.test(text) ? "absent" : "failed", reason };
}
