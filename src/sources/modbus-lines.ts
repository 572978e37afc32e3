import { connect, type Socket } from "node:net";
import type { ModbusSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import { rtu, tcp } from "./modbus-framing.ts";
import { ModbusLink, type Outcome } from "./modbus-link.ts";
import type { ModbusRequest } from "./modbus-pdu.ts";
import { closePort, openFailure, openPort, openTimeoutMs, serialPort } from "./serial-port.ts";
import type { Turns } from "./turns.ts";
import { Unavailable } from "./unavailable.ts";

/** Every unit of a line may be waited for, one after the other. */
const turnTimeoutMs = 120_000;
const connectTimeoutMs = 5_000;
/** A server that was switched off says nothing, and the kernel would wait a quarter of an hour for it. */
const maxUnansweredOfServer = 3;

type Exchange = (request: ModbusRequest) => Promise<Outcome>;

/** A link that several units share: one exchange at a time, in the order of asking. */
export class ModbusLine {
  readonly name: string;
  readonly #link: ModbusLink;
  readonly #clock: Clock;
  readonly #turns: Turns;
  /** Answers carry no number: what a unit answers too late would answer what it is asked next. */
  readonly #hasNumbers: boolean;
  /** Units that did not answer, and until when they may still do. */
  readonly #quiet = new Map<number, number>();

  constructor(name: string, link: ModbusLink, hasNumbers: boolean, clock: Clock, turns: Turns) {
    this.name = name;
    this.#turns = turns;
    this.#link = link;
    this.#hasNumbers = hasNumbers;
    this.#clock = clock;
  }

  /** @throws Unavailable */
  open(signal: AbortSignal): Promise<void> {
    return this.#turn(signal, () => this.#link.open(signal));
  }

  /** Resolves within its turn and `timeoutMs`. @throws Unavailable */
  exchange(request: ModbusRequest, timeoutMs: number, signal: AbortSignal): Promise<Outcome> {
    return this.together(request.unit, timeoutMs, signal, (exchange) => exchange(request));
  }

  /** Exchanges with one unit that no other comes between. @throws Unavailable */
  async together<T>(
    unit: number,
    timeoutMs: number,
    signal: AbortSignal,
    work: (exchange: Exchange) => Promise<T>,
  ): Promise<T> {
    await this.#untilQuiet(unit, signal);
    return await this.#turn(signal, () =>
      work(async (request) => {
        let isAnswered = false;
        try {
          const outcome = await this.#link.exchange(request, timeoutMs, signal);
          isAnswered = outcome.kind !== "missing";
          return outcome;
        } finally {
          if (!isAnswered && !this.#hasNumbers) this.#quiet.set(unit, this.#clock.monotonic() + timeoutMs);
        }
      }),
    );
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  /** Others are asked meanwhile. */
  async #untilQuiet(unit: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const restMs = (this.#quiet.get(unit) ?? 0) - this.#clock.monotonic();
      if (restMs <= 0) break;
      await this.#clock.sleep(Math.ceil(restMs), signal);
    }
    this.#quiet.delete(unit);
  }

  async #turn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    let isOver = false;
    const turn = this.#turns.take(this.name, () => {
      signal.throwIfAborted();
      if (isOver) throw new Unavailable("MODBUS_UNAVAILABLE", "failed", "nobody waits any more");
      return work();
    });
    try {
      return await within(turn, turnTimeoutMs, "a turn on the line", signal, "MODBUS_UNAVAILABLE");
    } finally {
      isOver = true;
    }
  }
}

interface Shared {
  readonly line: ModbusLine;
  readonly users: Set<object>;
}

/** The lines that sources use, each of them once. */
export class ModbusLines {
  readonly #clock: Clock;
  readonly #turns: Turns;
  readonly #shared = new Map<string, Shared>();

  constructor(clock: Clock, turns: Turns) {
    this.#clock = clock;
    this.#turns = turns;
  }

  /** The first user's settings count; the configuration sees to it that all have the same. */
  join(config: ModbusSourceConfig, user: object): ModbusLine {
    const name = lineName(config);
    const shared = this.#shared.get(name) ?? { line: this.#line(name, config), users: new Set() };
    this.#shared.set(name, shared);
    shared.users.add(user);
    return shared.line;
  }

  /** Closes the line behind the last user. */
  async leave(config: ModbusSourceConfig, user: object): Promise<void> {
    const name = lineName(config);
    const shared = this.#shared.get(name);
    if (!shared?.users.delete(user) || shared.users.size > 0) return;
    this.#shared.delete(name);
    await shared.line.close();
  }

  #line(name: string, config: ModbusSourceConfig): ModbusLine {
    const clock = this.#clock;
    const link = config.transport === "rtu" ? rtuLink(config, clock) : tcpLink(name, config, clock);
    return new ModbusLine(name, link, config.transport === "tcp", clock, this.#turns);
  }
}

export function lineName(config: ModbusSourceConfig): string {
  return config.transport === "rtu" ? config.path : `${config.host}:${config.port}`;
}

/** Fixed above 19,200 baud, where 3.5 characters would be too short to be kept (MODBUS over Serial Line V1.02 section 2.5.1.1). */
const fastSilenceMs = 1.75;

function rtuLink(
  { path, baudRate, dataBits, stopBits, parity }: Extract<ModbusSourceConfig, { transport: "rtu" }>,
  clock: Clock,
): ModbusLink {
  const bits = 1 + dataBits + (parity === "none" ? 0 : 1) + stopBits;
  const byteMs = (bits * 1_000) / baudRate;
  type Port = ReturnType<typeof serialPort>;
  return new ModbusLink(
    {
      framing: rtu,
      connect: async (signal) => {
        const settings = { path, baudRate, dataBits, stopBits, parity, flowControl: "none" } as const;
        const port = serialPort(settings);
        port.on("error", () => undefined);
        const opening = openPort(port);
        try {
          await within(opening, openTimeoutMs, `opening serial port ${path}`, signal);
          return port;
        } catch (error) {
          await closePort(port, opening);
          signal.throwIfAborted();
          const { state, reason } = openFailure(path, error);
          throw new Unavailable("MODBUS_UNAVAILABLE", state, reason, { cause: error });
        }
      },
      disconnect: (port) => closePort(port as Port, undefined),
      byteMs,
      silenceMs: baudRate > 19_200 ? fastSilenceMs : 3.5 * byteMs,
      maxUnanswered: Number.POSITIVE_INFINITY,
    },
    clock,
  );
}

function tcpLink(
  name: string,
  { host, port }: Extract<ModbusSourceConfig, { transport: "tcp" }>,
  clock: Clock,
): ModbusLink {
  return new ModbusLink(
    {
      framing: tcp,
      connect: async (signal) => {
        const socket = connect({ host, port, noDelay: true, keepAlive: true });
        try {
          await within(connected(socket), connectTimeoutMs, `connecting to ${name}`, signal);
          return socket;
        } catch (error) {
          socket.destroy();
          signal.throwIfAborted();
          throw new Unavailable(
            "MODBUS_UNAVAILABLE",
            "absent",
            `connecting to ${name}: ${messageOf(error)}`,
            {
              cause: error,
            },
          );
        }
      },
      disconnect: async (socket) => {
        socket.destroy();
      },
      byteMs: 0,
      silenceMs: 0,
      maxUnanswered: maxUnansweredOfServer,
    },
    clock,
  );
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve());
    // It stays: a later error without a listener would end the process.
    socket.on("error", reject);
  });
}
