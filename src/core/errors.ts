/**
 * Error classes say what to do, codes say what happened.
 * Every code is documented in `docs/errors.md`, which is generated from this table: codes are appended, never renamed.
 */
export const errorCodes = {
  CONFIG_INVALID: {
    cause: "The configuration breaks its schema or contradicts itself.",
    fix: "Run `headgate check FILE`; it prints every problem with its path and a hint.",
  },
  CONFIG_UNREADABLE: {
    cause: "The configuration file cannot be read or is not JSON.",
    fix: "Check the path, the permissions and the JSON syntax at the position in the message.",
  },
  SECRET_UNREADABLE: {
    cause: "A secret refers to a file or an environment variable that is missing or empty.",
    fix: "Set the variable or mount the file; the message names which.",
  },
  STORE_UNUSABLE: {
    cause: "The store cannot be opened or written: permissions, a full disk, or a file that is not a store.",
    fix: "Check that `store.path` is a folder the process may write to, and that its disk has room.",
  },
  STORE_NEWER: {
    cause: "The store was written by a newer version of Headgate.",
    fix: "Start the newer version again: it takes over what this one gathers meanwhile, in a file of its own. The newer store is not touched.",
  },
  STORE_BUSY: {
    cause: "Another process has the store open.",
    fix: "Stop the other `headgate run` on this `store.path`.",
  },
  STORE_CORRUPT: {
    cause: "Something in the store is not what was written there.",
    fix: "Nothing to do at once: the damaged file is set aside with a report, what can be read goes on. Check the disk.",
  },
  STORE_FULL: {
    cause: "The store has reached `store.maxBytes`, or its disk is full, and no source allows eviction.",
    fix: "Bring the hub back, raise `store.maxBytes`, or let sources be evicted (`whenFull`). Data waits meanwhile.",
  },
  SERIAL_OPEN_FAILED: {
    cause: "The serial port is absent, busy, or the process has no permission.",
    fix: "Check the path, the cable, and that the user is in the port's group (`dialout`). It is retried for ever.",
  },
  SOCKET_UNAVAILABLE: {
    cause:
      "A socket source reaches nobody, or cannot listen: the address is not ours or taken, the file of a unix socket is another's.",
    fix: "Check the source's `connect` or `listen`, and the reason in its status. It is retried for ever.",
  },
  MQTT_SOURCE_UNREACHABLE: {
    cause:
      "The broker of an MQTT source is absent, does not answer, or refuses the connection or the subscription.",
    fix: "Check the source's `url`, its password and what the broker lets it read. It is retried for ever.",
  },
  I2C_UNAVAILABLE: {
    cause:
      "The I2C bus or the chip is absent, another chip answers at its address, the chip measures nothing, or the bus is disturbed.",
    fix: "Read the reason; check the wiring, the address, that I2C is switched on and the process may open the bus (group `i2c`). It is retried for ever.",
  },
  ONE_WIRE_UNAVAILABLE: {
    cause: "The thermometer is not among those that the kernel finds on 1-Wire, or it does not answer.",
    fix: "Read the reason; check the wiring, the pull-up, the id, and that the kernel's 1-Wire is switched on (`dtoverlay=w1-gpio` on a Raspberry Pi). It is retried for ever.",
  },
  SYSFS_UNAVAILABLE: {
    cause: "The kernel shows no chip of that name or at that place, or its files cannot be read.",
    fix: "Read the reason, which names the chips that are there; check that the kernel's driver for the chip is loaded. It is retried for ever.",
  },
  CAPTURE_UNREADABLE: {
    cause: "The file of a source of type `replay` is no capture, or one of a newer version.",
    fix: "Check the path; record the capture again with this version. It is retried for ever.",
  },
  SOURCE_IN_USE: {
    cause: "A running gateway reads the source that `headgate record` was to read, and only one can.",
    fix: 'Switch the source off (`"state": "off"`, in the file or by twin) or stop the gateway, and record again.',
  },
  HUB_UNREACHABLE: {
    cause: "The hub cannot be reached: name, port, network, or certificate.",
    fix: "Check the host name and the network. It is retried for ever; data waits in the store.",
  },
  HUB_UNAUTHORIZED: {
    cause: "The hub refused the identity: wrong key, expired token, unknown device or module.",
    fix: "Check the connection string or the deployment, and the clock: a token of a clock that is far behind has expired. It is retried for ever; data waits in the store.",
  },
  HUB_TIMEOUT: {
    cause: "The hub did not answer within our deadline.",
    fix: "Nothing to do at first: the client is rebuilt and the call repeated. If it persists, look at the hub's load.",
  },
  HUB_LOST: {
    cause: "The connection to the hub broke.",
    fix: "Nothing to do: it is reconnected with backoff.",
  },
  HUB_REJECTED: {
    cause: "The hub refused a message or a patch for good.",
    fix: "Read the reason; the message is counted as discarded and the rest goes on.",
  },
  HUB_NO_TWIN: {
    cause: "The hub in force has no twin: it is a plain MQTT broker.",
    fix: "Nothing to do; set another hub where a twin is wanted.",
  },
  HUB_BUSY: {
    cause: "The hub answers that it is not available: it starts, or it throttles (CONNACK 3).",
    fix: "Nothing to do: it is tried again, with longer pauses than after a lost connection. If it persists, look at the hub's load and quotas.",
  },
  HUB_TAKEN_OVER: {
    cause:
      "The hub ended eight connections in a row, each in its first minute: most likely another client has the same identity.",
    fix: "Look for a second gateway with this connection string or module identity and stop one. It is tried again with pauses of up to two minutes; data waits in the store.",
  },
  HUB_TRIAL_FAILED: {
    cause:
      "Another hub was set, and confirmed nothing within its `trialMs`; or the process ended meanwhile, three times.",
    fix: "Read the reason, correct the `hub` section, and set it again. The gateway is back at the hub before; nothing is lost.",
  },
  MODBUS_UNAVAILABLE: {
    cause:
      "The serial port or the Modbus server is absent, the unit does not answer, or it answers every question with an exception.",
    fix: "Read the reason; check the line's settings, the wiring, the unit's number and the addresses (from 0). It is retried for ever.",
  },
  MODEL_UNAVAILABLE: {
    cause:
      "The file of a model is absent or cannot be read, its URL does not bring it, or a scorer elsewhere does not answer.",
    fix: "Check the path and the permissions, or the URL and the network. It is tried again for ever.",
  },
  MODEL_REFUSED: {
    cause:
      "What is there is not the model that is meant: another SHA-256, too large, no ONNX file, an input that cannot be given, labels that are none; or a scorer elsewhere gives wrong answers to a try.",
    fix: "Read the reason, and correct the entry in `models`, or the file. A model that was in force before stays in force.",
  },
  MODEL_FAILED: {
    cause: "The runtime failed at a request; the model stays loaded.",
    fix: "Read the reason: most often the sizes of several inputs do not fit each other.",
  },
  MODEL_LOST: {
    cause: "A model's thread ended, or did not answer within its `timeoutMs`; or a scorer elsewhere is gone.",
    fix: "Nothing to do at first: the model is loaded again. If it persists, look at the memory, or raise `timeoutMs`.",
  },
  SENTIMENT_UNAVAILABLE: {
    cause:
      "The sentiment container cannot be reached, is not ready yet, does not answer within `sentiment.timeoutMs`, or answers that it is too busy.",
    fix: "Nothing to do at first: it is looked for again, with growing pauses. If it persists, look at the container's log: without `Eula`, `Billing` and `ApiKey`, or without a way to its billing endpoint, it does not serve.",
  },
  SENTIMENT_REFUSED: {
    cause:
      "What listens at `sentiment.url` is not the API that is meant, answers with something else, or refuses the key.",
    fix: "Read the reason; check `sentiment.url`, `sentiment.api` and, for the cloud, `sentiment.key`. It is tried again for ever.",
  },
  IMAGE_FOLDER_UNAVAILABLE: {
    cause:
      "The folder of an image source is absent, may not be read, or its disk or share does not answer; or a picture that was scored cannot be removed from it.",
    fix: "Check the path, the mount and the permissions: the process must be able to list the folder and to rename and delete in it. It is retried for ever; pictures wait there.",
  },
  IMAGE_URL_UNAVAILABLE: {
    cause: "A camera is not reached, refuses, or does not answer with a whole picture in time.",
    fix: "Read the reason; open the URL with the same user and password. It is retried for ever.",
  },
  INVARIANT: {
    cause: "A rule that the code relies on was broken: our bug.",
    fix: "Report it with the log. The process ends with code 1 and starts again from its store.",
  },
} as const satisfies Record<string, { cause: string; fix: string }>;

export type ErrorCode = keyof typeof errorCodes;

export class HeadgateError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}
/** Retry with backoff. */
export class TransientError extends HeadgateError {}
/** Reject this item, count it, go on. */
export class PermanentError extends HeadgateError {}
/** Our bug: crash and be restarted. */
export class InvariantError extends HeadgateError {
  constructor(message: string, options?: ErrorOptions) {
    super("INVARIANT", message, options);
  }
}

/** One problem of a configuration: where (JSON path such as `sources.oven.baudRate`), what, and what to do. */
export interface Problem {
  readonly path: string;
  readonly message: string;
  readonly hint?: string;
}
/** The operator must act; carries every problem at once. */
export class ConfigError extends HeadgateError {
  readonly problems: readonly Problem[];
  constructor(code: ErrorCode, problems: readonly Problem[], options?: ErrorOptions) {
    super(code, problems.map((p) => (p.path ? `${p.path}: ${p.message}` : p.message)).join("; "), options);
    this.problems = problems;
  }
}

/** Whether it is one of these of the system or of Node, such as `ENOENT`. */
export const hasCode = (error: unknown, ...codes: readonly string[]): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
