import type { GatewayStatus } from "../gateway-status.ts";
import { imbalances } from "../ledger/ledger.ts";
import { bytesWritten, freeDisk, freeRam } from "../observe/health.ts";

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: number];

/**
 * The state of the gateway in the text format of Prometheus, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Counts of the books go on across restarts.
 */
export function metricsText(status: GatewayStatus, storeFolder: string, wallMs: number): string {
  const lines: string[] = [];
  const metric = (name: string, type: "counter" | "gauge", help: string, samples: readonly Sample[]) => {
    if (samples.length === 0) return;
    lines.push(`# HELP headgate_${name} ${help}`, `# TYPE headgate_${name} ${type}`);
    for (const [labels, value] of samples) lines.push(`headgate_${name}${labelText(labels)} ${value}`);
  };
  const { store, intake, publisher, hub, api } = status;
  const { outbox } = store;
  const books = Object.entries(store.books);
  const perSource = (pick: (book: (typeof books)[number][1]) => number): Sample[] =>
    books.map(([source, book]) => [{ source }, pick(book)]);
  const discards = books.flatMap(([source, { frameDiscards, discards }]) => [
    ...samplesOf(frameDiscards, (reason) => ({ source, stage: "decode", reason })),
    ...samplesOf(discards, (reason) => ({ source, stage: stageOf(reason), reason })),
  ]);
  const notes = books.flatMap(([source, { notes }]) => samplesOf(notes, (note) => ({ source, note })));
  const sources = Object.entries(status.sources);
  const models = Object.entries(status.models);
  const disk = freeDisk(storeFolder);
  const { version, gateway } = status;
  const ageMs = outbox.oldestMs === undefined ? 0 : Math.max(0, wallMs - outbox.oldestMs);

  metric("build_info", "gauge", "Version and name of the gateway.", [[{ version, gateway }, 1]]);
  metric("healthy", "gauge", "1 while the store takes data.", [[{}, Number(status.healthy)]]);
  metric("clock_synced", "gauge", "1 while the clock is known good.", [
    [{}, Number(status.clock === "synced")],
  ]);

  metric(
    "frames_total",
    "counter",
    "Frames received, decoded or not.",
    perSource((b) => b.frames),
  );
  metric(
    "decoded_frames_total",
    "counter",
    "Frames decoded.",
    perSource((b) => b.decoded),
  );
  metric(
    "ingested_readings_total",
    "counter",
    "Readings taken.",
    perSource((b) => b.ingested),
  );
  metric(
    "published_readings_total",
    "counter",
    "Readings acknowledged by the hub.",
    perSource((b) => b.published),
  );
  metric(
    "held_readings",
    "gauge",
    "Readings in open windows and the outbox.",
    perSource((b) => b.held),
  );
  metric(
    "bad_readings_total",
    "counter",
    "Readings with a value of quality bad.",
    perSource((b) => b.bad),
  );
  metric("discards_total", "counter", "Frames (stage decode) and readings dropped, by reason.", discards);
  metric("notes_total", "counter", "What was noted and moves no reading.", notes);
  metric(
    "lost_frames_total",
    "counter",
    "Frames lost before a commit, as counted.",
    perSource((b) => b.gaps.counted),
  );
  metric(
    "gaps_total",
    "counter",
    "Occasions on which an unknown number of frames was lost before a commit.",
    perSource((b) => b.gaps.unknown),
  );
  metric("imbalances", "gauge", "Identities of the books that do not hold; 0 at all times.", [
    [{}, imbalances(store.books).length],
  ]);
  metric(
    "source_open",
    "gauge",
    "1 while the source is open.",
    sources.map(([source, { state }]) => [{ source }, Number(state === "open")]),
  );
  metric(
    "model_ready",
    "gauge",
    "1 while the model can be asked.",
    models.map(([model, { state }]) => [{ model }, Number(state === "ready")]),
  );
  metric(
    "model_requests_total",
    "counter",
    "Requests to the model, by what became of them.",
    models.flatMap(([model, { counts }]) => samplesOf(counts, (outcome) => ({ model, outcome }))),
  );

  metric("model_threads_leaving", "gauge", "Threads of models that were let go of and still run.", [
    [{}, status.leavingThreads],
  ]);
  const { sentiment } = status;
  const isSentimentOff = sentiment.state === "off";
  metric(
    "sentiment_ready",
    "gauge",
    "1 while the sentiment container can be asked.",
    isSentimentOff ? [] : [[{}, Number(sentiment.state === "ready")]],
  );
  metric(
    "sentiment_texts_total",
    "counter",
    "Texts to be scored, by what became of them.",
    isSentimentOff ? [] : samplesOf(sentiment.counts, (outcome) => ({ outcome })),
  );
  metric(
    "texts_waiting",
    "gauge",
    "Texts that wait for their scores.",
    Object.entries(store.texts).map(([source, { texts }]) => [{ source }, texts]),
  );
  metric(
    "texts_waiting_bytes",
    "gauge",
    "Their bytes.",
    Object.entries(store.texts).map(([source, { bytes }]) => [{ source }, bytes]),
  );

  metric(
    "register_writes_total",
    "counter",
    "Values that were to be set in field devices, by what became of them.",
    samplesOf(status.writes, (outcome) => ({ outcome })),
  );

  metric(
    "picture_uploads_total",
    "counter",
    "Pictures that were to be uploaded, by what became of them.",
    samplesOf(status.uploads, (outcome) => ({ outcome })),
  );

  metric("outbox_entries", "gauge", "Entries not yet acknowledged.", [[{}, outbox.entries]]);
  metric("outbox_messages", "gauge", "Messages not yet acknowledged.", [[{}, outbox.messages]]);
  metric("outbox_bytes", "gauge", "Bytes of entries not yet acknowledged.", [[{}, outbox.bytes]]);
  metric("outbox_age_seconds", "gauge", "Age of the oldest entry.", [[{}, ageMs / 1_000]]);
  metric("open_windows", "gauge", "Windows not yet closed.", [[{}, store.openWindows]]);
  metric(
    "store_state",
    "gauge",
    "1 for the state that the store is in.",
    ["ok", "failing"].map((state) => [{ state }, Number(state === intake.state)]),
  );
  metric("commits_total", "counter", "Commits since the start.", [[{}, intake.commits]]);
  metric("commit_overshoot_seconds", "gauge", "Longest time beyond store.maxLossMs until a commit.", [
    [{}, intake.overshootMs / 1_000],
  ]);
  metric("queue_bytes", "gauge", "Bytes received and not yet stored.", [[{}, intake.queuedBytes]]);
  const { writtenBytesPerDay } = status.flash;
  metric(
    "written_bytes_per_day",
    "gauge",
    "What that comes to in a day, at the rate since the start.",
    writtenBytesPerDay === undefined ? [] : [[{}, writtenBytesPerDay]],
  );
  metric("written_bytes_total", "counter", "Bytes this process made the disk write since its start.", [
    [{}, bytesWritten()],
  ]);

  metric("hub_connected", "gauge", "1 while the hub is connected.", [
    [{ type: hub.type }, Number(hub.state === "connected")],
  ]);
  metric("hub_unclaimed_messages_total", "counter", "Messages of the hub that no source took.", [
    [{}, hub.unclaimed],
  ]);
  const { upstream } = status;
  metric(
    "upstream_state",
    "gauge",
    "1 for the state of edge hub's way to the cloud.",
    upstream === undefined
      ? []
      : (["online", "offline", "congested", "unknown"] as const).map((state) => [
          { state },
          Number(state === upstream.state),
        ]),
  );
  metric(
    "held_back_seconds_total",
    "counter",
    "Time that messages waited here because of it, since the start.",
    upstream === undefined ? [] : [[{}, upstream.heldMs / 1_000]],
  );
  metric("sent_messages_total", "counter", "Messages acknowledged since the start.", [[{}, publisher.sent]]);
  metric("messages_in_flight", "gauge", "Messages handed over and not confirmed.", [
    [{}, publisher.inFlight],
  ]);
  metric("billed_blocks_today", "gauge", "Blocks of messages composed since midnight UTC.", [
    [{}, status.bill.blocks],
  ]);
  metric("billed_blocks_forecast", "gauge", "Blocks of the whole day, if it goes on like this.", [
    [{}, status.bill.forecast],
  ]);
  metric("block_fill_ratio", "gauge", "How full the blocks are.", [[{}, status.bill.fill]]);
  metric("free_ram_bytes", "gauge", "Memory the process may still use.", [[{}, freeRam()]]);
  metric("free_disk_bytes", "gauge", "Room on the store's disk.", disk === undefined ? [] : [[{}, disk]]);

  metric(
    "api_answers_total",
    "counter",
    "Answers of the local API by status code.",
    samplesOf(api.answers, (code) => ({ code })),
  );
  metric("api_cut_bodies_total", "counter", "Requests whose body broke off.", [[{}, api.cutBodies]]);
  metric("api_repeats_total", "counter", "Requests known by their idempotency key.", [[{}, api.repeats]]);
  metric("api_refused_connections_total", "counter", "Connections beyond the bound.", [
    [{}, api.refusedConnections],
  ]);
  return `${lines.join("\n")}\n`;
}

function samplesOf(
  counts: Readonly<Partial<Record<string, number>>>,
  labels: (name: string) => Labels,
): Sample[] {
  return Object.entries(counts).map(([name, count]) => [labels(name), count ?? 0]);
}

/** Which stage a reading left at. */
function stageOf(reason: string): string {
  if (reason === "rejected") return "publish";
  return ["evicted", "budget", "damaged"].includes(reason) ? "outbox" : "window";
}

function labelText(labels: Labels): string {
  const entries = Object.entries(labels);
  if (entries.length === 0) return "";
  return `{${entries.map(([name, value]) => `${name}="${escaped(value)}"`).join(",")}}`;
}

/** Backslash, quote and line end are what the format escapes in a label's value. */
function escaped(value: string): string {
  return value.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
