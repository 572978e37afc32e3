/** What a trial takes for a proof, with clients made by hand. */
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import { PermanentError, TransientError } from "../src/core/errors.ts";
import type { HubClient, HubMessage, TwinClient } from "../src/hub/hub-client.ts";
import { HubLink } from "../src/hub/hub-link.ts";
import { UpstreamWatch } from "../src/hub/upstream-watch.ts";
import { HubMove } from "../src/hub-move.ts";
import { HoldBack } from "../src/publish/hold-back.ts";
import { recordingLog } from "./core/recording-log.ts";
import { plain } from "./support/hub-message.ts";
import { until } from "./support/until.ts";

const message: HubMessage = { id: "m", output: "readings", ...plain, body: Buffer.from("[]") };
const config = { type: "mqtt", trialMs: 1_000 } as never;
const twin: TwinClient = {
  subscribe: async () => undefined,
  get: async () => ({ desired: {}, desiredVersion: 1, reported: {} }),
  report: async () => undefined,
};

function moving(next: Partial<HubClient>, outbox = { entries: 0, messages: 0 }) {
  const log = recordingLog();
  const client = (more: Partial<HubClient> = {}): HubClient => ({
    twin: undefined,
    connect: async () => undefined,
    send: async () => undefined,
    close: async () => undefined,
    ...more,
  });
  let present: "old" | "next" = "old";
  let adopted = 0;
  let otherTwins = 0;
  const factoryOf = (name: typeof present, more: Partial<HubClient>) => () => {
    present = name;
    return client(more);
  };
  const old = { config, factory: factoryOf("old", { twin }) };
  const link = new HubLink({
    factory: old.factory,
    clock: systemClock,
    log,
    onConnected: async (connected) => void (await move.admits(connected)),
    onDesired: () => undefined,
  });
  const upstream = new UpstreamWatch(
    { holdBack: (of) => new HoldBack(of), clock: systemClock, log, wake: () => undefined },
    undefined,
  );
  const move = new HubMove(
    {
      link,
      upstream,
      hub: async () => ({ config, factory: factoryOf("next", next) }),
      outbox: () => outbox,
      onOtherHub: () => undefined,
      onOtherTwin: () => otherTwins++,
      clock: systemClock,
      log,
    },
    old,
  );
  link.start();
  onTestFinished(() => link.stop());
  const to = async (adopt = () => void adopted++) => {
    await until("connected", () => link.state.state === "connected");
    return await move.to(config, adopt).then(
      () => "taken",
      (error: unknown) => error,
    );
  };
  return { move, link, to, outcome: () => ({ present, adopted, otherTwins }) };
}
const onTrial = async ({ move, link }: ReturnType<typeof moving>) => {
  await until("on trial", () => move.isTrying && link.state.state === "connected");
};
const kept = { present: "next", adopted: 1, otherTwins: 1 };
const failed = { present: "old", adopted: 0, otherTwins: 0 };

test("a confirmed message proves it at once", async () => {
  const subject = moving({}, { entries: 1, messages: 1 });
  const moved = subject.to();
  await onTrial(subject);
  await subject.move.send(message);
  expect(await moved).toBe("taken");
  expect(subject.outcome()).toEqual(kept);
  expect(subject.move.moves).toBe(1);
});

test("an answer of its twin proves it only while there is nothing to send", async () => {
  const empty = moving({ twin });
  expect(await empty.to()).toBe("taken");
  const full = moving({ twin }, { entries: 3, messages: 1 });
  expect(await full.to()).toMatchObject({ code: "HUB_TRIAL_FAILED", problems: [{ path: "hub" }] });
  await until("the old one is taken again", () => full.outcome().present === "old");
  expect(full.outcome()).toEqual(failed);
});

test("with no message to send a connection that stands at the end is enough, unless its twin is mute", async () => {
  const quiet = moving({});
  expect(await quiet.to()).toBe("taken");
  const loose = moving({ twin }, { entries: 1, messages: 0 });
  expect(await loose.to()).toBe("taken");
  const mute = moving({ twin: { ...twin, get: () => new Promise(() => undefined) } });
  expect(await mute.to()).toMatchObject({ code: "HUB_TRIAL_FAILED" });
  const away = moving({ connect: () => Promise.reject(new TransientError("HUB_UNREACHABLE", "away")) });
  expect(await away.to()).toMatchObject({
    code: "HUB_TRIAL_FAILED",
    message: expect.stringContaining("away"),
  });
});

test("a message that it refuses for good ends the trial before its time, and is not the publisher's to reject", async () => {
  const send = () => Promise.reject(new PermanentError("HUB_REJECTED", "too large"));
  const subject = moving({ send }, { entries: 1, messages: 1 });
  const moved = subject.to();
  await onTrial(subject);
  await expect(subject.move.send(message)).rejects.toBeInstanceOf(TransientError);
  expect(await moved).toMatchObject({
    code: "HUB_TRIAL_FAILED",
    message: expect.stringContaining("too large"),
  });
  await until("the old one is taken again", () => subject.outcome().present === "old");
  await subject.link.connected(AbortSignal.timeout(5_000));
  await subject.move.send(message);
});

test("during a trial nobody talks to a twin, and a trial whose configuration cannot be saved goes back", async () => {
  const subject = moving({}, { entries: 1, messages: 1 });
  const moved = subject.to(() => {
    throw new TransientError("STORE_UNUSABLE", "full");
  });
  await onTrial(subject);
  await expect(subject.move.withTwin((of) => of.get())).rejects.toMatchObject({ code: "HUB_LOST" });
  await subject.move.send(message);
  expect(await moved).toMatchObject({ code: "STORE_UNUSABLE" });
  await until("the old one is taken again", () => subject.outcome().present === "old");
  expect(subject.outcome()).toEqual(failed);
});
