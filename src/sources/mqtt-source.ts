import type { MqttSourceConfig } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf, TransientError } from "../core/errors.ts";
import { backoffMs, reconnectSchedule } from "../core/retry.ts";
import { LoopSource } from "./loop-source.ts";
import { MqttConnection, type MqttConnectionOptions } from "./mqtt-connection.ts";
import type { WaitingSink } from "./source.ts";
import { matchesFilter } from "./topic-filter.ts";

const keepaliveS = 60;
const connectTimeoutMs = 20_000;
/** For the commit of what is taken, and for the goodbye, each. */
const closeTimeoutMs = 1_500;
/** Far more than devices have; a topic that is not among them is matched again. */
const maxKnownTopics = 10_000;

/**
 * Messages of a broker, each of them one frame with its topic as origin. Connects again by itself, for ever.
 * A message of QoS 1 is answered when it is durable; while there is no room, the source stops reading and loses nothing.
 */
export class MqttSource extends LoopSource {
  readonly #config: MqttSourceConfig;
  readonly #options: MqttConnectionOptions;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  /** Topics that came lately, and whether they match the filter. */
  readonly #topics = new Map<string, boolean>();
  #forGood = false;

  constructor(
    name: string,
    config: MqttSourceConfig,
    sink: WaitingSink,
    clock: Clock,
    place: { readonly gateway: string; readonly environment: NodeJS.ProcessEnv },
  ) {
    super(sink);
    const { url, topic, qos, username, password, caFile, certFile, keyFile } = config;
    this.#config = config;
    this.#options = {
      url,
      topic,
      qos,
      clientId: config.clientId ?? `headgate-${place.gateway}-${name}`,
      username,
      password: password && (() => resolveSecret(password, `sources.${name}.password`, place.environment)),
      caFile,
      certFile,
      keyFile,
      keepaliveS,
      connectTimeoutMs,
      closeTimeoutMs,
    };
    this.#sink = sink;
    this.#clock = clock;
  }

  override async stop(forGood = false): Promise<void> {
    this.#forGood = forGood;
    await super.stop();
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    const inbox = {
      take: (topic: string, payload: Uint8Array, waits: boolean) => this.#take(topic, payload, waits),
      committed: () => this.#sink.committed(),
    };
    let attempt = -1;
    while (!signal.aborted) {
      let openedAt: number | undefined;
      const connection = new MqttConnection(this.#options, inbox, this.#clock);
      const onStop = () => connection.close(this.#forGood);
      signal.addEventListener("abort", onStop, { once: true });
      try {
        if (this.state === "stopped") this.set({ state: "opening", reason: undefined });
        const granted = await connection.open(signal);
        openedAt = this.#clock.monotonic();
        const reason = granted < this.#config.qos ? `the broker grants only QoS ${granted}` : undefined;
        this.set({ state: "open", reason });
        const gone = await connection.gone;
        if (!signal.aborted) this.set({ state: "absent", reason: gone });
      } catch (error) {
        const state = error instanceof TransientError ? "absent" : "failed";
        if (!signal.aborted) this.set({ state, reason: messageOf(error) });
      }
      // Per attempt, or a broker that stays away for months would leave a listener for each.
      signal.removeEventListener("abort", onStop);
      await connection.close();
      if (signal.aborted) break;
      const healthy =
        openedAt !== undefined && this.#clock.monotonic() - openedAt >= reconnectSchedule.healthyMs;
      attempt = healthy ? 0 : attempt + 1;
      await this.#clock
        .sleep(backoffMs(reconnectSchedule, attempt, Math.random()), signal)
        .catch(() => undefined);
    }
    this.set({ state: "stopped", reason: undefined });
  }

  /** False when there is no room, and only for a message that waits: others are a gap then, which the sink counts. */
  #take(topic: string, payload: Uint8Array, waits: boolean): boolean {
    const sink = this.#sink;
    // The broker keeps the subscriptions of a session: after a change of the topic it still sends the old one's.
    if (!this.#isSubscribed(topic)) sink.discard("otherTopic", payload.length, payload);
    else if (payload.length > this.#config.maxPayloadBytes) sink.discard("overlong", payload.length, payload);
    else if (waits && !sink.hasRoom(payload.length)) return false;
    else return sink.frame(payload, topic) || !waits;
    return true;
  }

  #isSubscribed(topic: string): boolean {
    let matches = this.#topics.get(topic);
    if (matches === undefined) {
      matches = matchesFilter(this.#config.topic, topic);
      if (this.#topics.size >= maxKnownTopics) this.#topics.clear();
      this.#topics.set(topic, matches);
    }
    return matches;
  }
}
