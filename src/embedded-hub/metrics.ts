import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import { listenOn, stopListening } from "./http-listening.ts";

/**
 * Some of edge hub's own metrics, with its names and labels (Azure/iotedge doc/BuiltInMetrics.md; what sets them:
 * `Checkpointer.cs`, `DeviceConnectivityManager.cs` and `CloudProxy.cs` there). Of `messages_sent` only what goes
 * upstream, of `queue_length` only the upstream endpoint; nothing is ever `unack`, because this hub's storage does not
 * fail. Not confirmed: `source` of `gettwin`, and `ms_telemetry` of each.
 */
const families = {
  edgehub_gettwin_total: { type: "counter", help: "Get twin calls", labels: ["source", "id"] },
  edgehub_messages_received_total: {
    type: "counter",
    help: "Messages received from clients",
    labels: ["route_output", "id"],
  },
  edgehub_messages_sent_total: {
    type: "counter",
    help: "Messages sent from edge hub",
    labels: ["from", "to", "from_route_output", "to_route_input", "priority"],
  },
  edgehub_reported_properties_total: {
    type: "counter",
    help: "Reported properties update calls",
    labels: ["target", "id"],
  },
  edgehub_messages_dropped_total: {
    type: "counter",
    help: "Messages cleared because of reason",
    labels: ["reason", "from", "from_route_output"],
  },
  edgehub_messages_unack_total: {
    type: "counter",
    help: "Messages not acknowledged because of a storage failure",
    labels: ["reason", "from", "from_route_output"],
  },
  edgehub_offline_count_total: { type: "counter", help: "EdgeHub offline count", labels: ["id"] },
  edgehub_offline_duration_seconds: { type: "summary", help: "EdgeHub offline time", labels: ["id"] },
  edgehub_queue_length: {
    type: "gauge",
    help: "Number of messages pending to be processed for the endpoint",
    labels: ["endpoint", "priority"],
  },
  edgehub_connected_clients: { type: "gauge", help: "Current number of clients connected", labels: [] },
} as const satisfies Record<string, { type: string; help: string; labels: readonly string[] }>;

type Families = typeof families;
export type MetricName = keyof Families;
type Strings<T extends readonly string[]> = { readonly [I in keyof T]: string };
/** One value per label of the family, in its order. */
type LabelValues<N extends MetricName> = Strings<Families[N]["labels"]>;

/** Clients choose names of outputs; beyond this many series of one family further ones are not counted. */
const maxSeries = 1_000;

/** The numbers behind `/metrics`, in the text format of Prometheus 0.0.4. */
export class EdgeMetrics {
  readonly #series = new Map<MetricName, Map<string, number>>();
  readonly #base: string;

  constructor(hostName: string, deviceId: string) {
    this.#base = `iothub="${escaped(hostName)}",edge_device="${escaped(deviceId)}",instance_number="${randomUUID()}"`;
  }

  add<N extends MetricName>(name: N, values: LabelValues<N>, amount = 1): void {
    this.#change(name, "", values, (before) => before + amount);
  }

  set<N extends MetricName>(name: N, values: LabelValues<N>, value: number): void {
    this.#change(name, "", values, () => value);
  }

  /** Of a summary: its sum and its count; no quantiles. */
  observe<N extends MetricName>(name: N, values: LabelValues<N>, value: number): void {
    this.#change(name, "_sum", values, (before) => before + value);
    this.#change(name, "_count", values, (before) => before + 1);
  }

  text(): string {
    const lines: string[] = [];
    for (const [name, { type, help }] of Object.entries(families)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
      for (const [series, value] of this.#series.get(name as MetricName) ?? [])
        lines.push(`${series} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #change(
    name: MetricName,
    suffix: string,
    values: readonly string[],
    next: (before: number) => number,
  ): void {
    const known = this.#series.get(name) ?? new Map<string, number>();
    this.#series.set(name, known);
    const own = families[name].labels.map((label, i) => `${label}="${escaped(values[i] ?? "")}"`);
    const series = `${name}${suffix}{${[this.#base, ...own, 'ms_telemetry="True"'].join(",")}}`;
    const before = known.get(series);
    if (before === undefined && known.size >= maxSeries) return;
    known.set(series, next(before ?? 0));
  }
}

function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}

/** `GET /metrics`, without a password, as edge hub serves it on port 9600. */
export class MetricsServer {
  readonly #server: Server;

  constructor(text: () => string) {
    this.#server = createServer((request, response) => {
      const isKnown = request.method === "GET" && request.url === "/metrics";
      response.writeHead(isKnown ? 200 : 404, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
      response.end(isKnown ? text() : "");
    });
    this.#server.maxConnections = 100;
  }

  /** Returns the port. @throws the listening error, for example EADDRINUSE */
  listen(port: number, host: string): Promise<number> {
    return listenOn(this.#server, port, host);
  }

  stop(): Promise<void> {
    return stopListening(this.#server);
  }
}
