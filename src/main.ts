import { Command, CommanderError, Option } from "commander";
import { exitCode } from "./cli/exit-code.ts";
import { stopSignal } from "./cli/lifetime.ts";
import { formatProblem } from "./cli/problems.ts";
import { ConfigError, errorCodes, HeadgateError, InvariantError } from "./core/errors.ts";
import { version } from "./version.ts";

const logLevel = (level: string) =>
  new Option("--log-level <level>", "least level of log lines")
    .choices(["trace", "debug", "info", "warn", "error"])
    .default(level);

/** Entry of the command line. Commands are loaded when they are called: a start must not pay for the others. */
export async function main(argv: readonly string[] = process.argv): Promise<void> {
  const program = new Command("headgate")
    .description("Edge gateway: field devices in, durable and honest data out")
    .version(version)
    .showHelpAfterError("(add --help for what is possible)")
    .exitOverride();

  program
    .command("run")
    .description("run the gateway until it is stopped")
    .option("-c, --config <file>", "configuration file (JSON)")
    .addOption(logLevel("info"))
    .action(async (options) => {
      const signal = stopSignal();
      await (await import("./cli/run.ts")).run(options, signal);
    });

  program
    .command("simulate")
    .description("run everything here: simulated devices, the gateway, an embedded hub")
    .option("--for <duration>", "stop by itself after this time, such as 30s or 2m")
    .option("--json", "print each message that the hub received as one JSON line on stdout")
    .option("--field-log <file>", "append every reading that a device sent, as JSON lines")
    .option("--window <duration>", "size of the windows, 5s at most", "2s")
    .option("--devices <n>", "number of simulated sensors, 1 to 20", "2")
    .option("--seed <n>", "seed of the simulated devices", "1")
    .option("--store <folder>", "keep the store here; otherwise it is removed at the end")
    .addOption(logLevel("warn"))
    .action(async (options) => {
      const signal = stopSignal();
      await (await import("./cli/simulate.ts")).simulate(options, signal);
    });

  program
    .command("hub")
    .description("run the embedded hub alone and print the environment for a module")
    .option("--port <n>", "MQTT port", "0")
    .option("--control-port <n>", "port of the control surface on loopback", "0")
    .option("--metrics-port <n>", "serve edge hub's metrics on this port; 0 takes any free one")
    .option("--module <name...>", "modules that may connect", ["gateway"])
    .option("--message-log <file>", "append every accepted message, as JSON lines")
    .option("--json", "print the environment and addresses as one JSON line")
    .action(async (options) => {
      const signal = stopSignal();
      await (await import("./cli/hub.ts")).hub(options, signal);
    });

  program
    .command("check")
    .description("check a configuration and print every problem with its path")
    .argument("[file]", "configuration file; without it only the environment is checked")
    .option("--json", "print the result as one JSON line")
    .action(async (file, options) => (await import("./cli/check.ts")).check(file, options));

  program
    .command("schema")
    .description("print the JSON Schema of the configuration")
    .action(async () => (await import("./cli/schema.ts")).schema());

  program
    .command("scan")
    .description("look what is on this box, and print a configuration to start from")
    .option("--i2c", "ask who answers on the I2C buses, as it does unless told otherwise", true)
    .option("--no-i2c", "leave the I2C buses alone: one byte is read at each address")
    .option(
      "--modbus <line>",
      "ask who answers on a line of Modbus: /dev/ttyUSB0,9600,none,1 or tcp://10.0.0.7:502 (may be repeated)",
      (line: string, lines: string[]) => [...lines, line],
      [],
    )
    .option("--units <range>", "units that are asked, 0.1 s for each that is not there", "1-247")
    .option("--dev <folder>", "where the device files are", "/dev")
    .option("--sys <folder>", "where sysfs is", "/sys")
    .option("--json", "print all of it as one JSON line")
    .action(async (options) => {
      const signal = stopSignal();
      await (await import("./cli/scan.ts")).scan(options, signal);
    });

  program
    .command("record")
    .description("write what a source receives to a capture file, without a store or a hub")
    .requiredOption("-s, --source <name>", "the source, as the configuration names it")
    .requiredOption("-o, --out <file>", "the capture; a file that is there is left alone")
    .option("-c, --config <file>", "configuration file (JSON)")
    .option("--for <duration>", "stop by itself after this time, such as 30s or 2m")
    .option("--max-bytes <n>", "stop when the capture is so large", "100000000")
    .option("--json", "print what was recorded as one JSON line")
    .addOption(logLevel("info"))
    .action(async (options) => {
      const signal = stopSignal();
      await (await import("./cli/record.ts")).record(options, signal);
    });

  program
    .command("status")
    .description("ask the gateway that runs on a store; ends with 0 when it is healthy")
    .option("-c, --config <file>", "its configuration file, to find the store")
    .option("--json", "print all of it as one JSON line")
    .action(async (options) => (await import("./cli/status.ts")).status(options));

  program
    .command("ledger")
    .description("print the books of the gateway or its store; ends with 0 when they add up")
    .option("-c, --config <file>", "its configuration file, to find the store")
    .option("--json", "print all of it as one JSON line")
    .action(async (options) => (await import("./cli/ledger.ts")).ledger(options));

  program
    .command("classify")
    .description("say what an image shows, by an ONNX model that is loaded here, or a scorer elsewhere")
    .argument("<image>", "JPEG, PNG or WebP")
    .option("-c, --config <file>", "configuration file, for its models")
    .option("-m, --model <name>", "a model of the configuration, or a file that ends with .onnx")
    .option("--labels <file>", "names of the classes, instead of the model's own")
    .option("--top <n>", "how many names to tell", "5")
    .option("--json", "print all of it as one JSON line")
    .action(async (image, options) => (await import("./cli/classify.ts")).classifyFile(image, options));

  try {
    await program.parseAsync(argv as string[]);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? exitCode.stopped : exitCode.badConfiguration;
    } else if (error instanceof ConfigError) {
      for (const problem of error.problems) process.stderr.write(`headgate: ${formatProblem(problem)}\n`);
      process.exitCode = exitCode.badConfiguration;
    } else if (error instanceof HeadgateError && !(error instanceof InvariantError)) {
      process.stderr.write(
        `headgate: ${error.code}: ${error.message}\n          ${errorCodes[error.code].fix}\n`,
      );
      process.exitCode = exitCode.crashed;
    } else if (error instanceof Error && "syscall" in error) {
      process.stderr.write(`headgate: ${error.message}\n`);
      process.exitCode = exitCode.crashed;
    } else {
      process.stderr.write(
        `headgate: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
      );
      process.exitCode = exitCode.crashed;
    }
    // Whatever the failed command had started must not keep the process alive.
    process.exit();
  }
}
