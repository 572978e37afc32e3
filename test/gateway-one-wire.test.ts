/** The whole daemon with thermometers on 1-Wire, in files as the kernel shows them. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonAtHub } from "./support/daemon-at-hub.ts";
import { OneWireTree, w1Slave } from "./support/sysfs-tree.ts";
import { until } from "./support/until.ts";

const steady = "28-0000000000a1";
const other = "28-0000000000a2";
let box: DaemonAtHub;
let tree: OneWireTree;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  tree = new OneWireTree(box.folder);
});
afterEach(() => box.remove());

const temperaturesOf = (device: string) => box.readingsOf(device).map(({ temperature }) => temperature);
const source = (id: string) => ({
  type: "oneWire",
  id,
  root: tree.devices,
  intervalMs: 100,
  device: id,
});

test("temperatures are at the hub; bad checksums, power-on values and a cut wire are counted, and disturb no neighbour", async () => {
  tree.plug(steady, w1Slave(370));
  tree.plug(other, w1Slave(-162));
  box.start({ steady: source(steady), other: source(other) });
  await until(
    "both are at the hub",
    () => temperaturesOf(steady).length > 2 && temperaturesOf(other).length > 2,
  );
  expect(temperaturesOf(steady)[0]).toMatchObject({
    value: 23.125,
    unit: "°C",
    quality: "good",
  });
  expect(temperaturesOf(other)[0]).toMatchObject({ value: -10.125 });

  tree.plug(other, w1Slave(370, "NO"));
  await until(
    "bad checksums are counted",
    async () => ((await box.discardsOf("other"))?.badChecksum ?? 0) > 2,
  );
  tree.plug(other, "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n");
  await until(
    "power-on values are counted",
    async () => ((await box.discardsOf("other"))?.powerOnValue ?? 0) > 2,
  );
  const before = temperaturesOf(steady).length;
  tree.unplug(other);
  await box.untilState("other", "absent");
  await until("the neighbour goes on", () => temperaturesOf(steady).length >= before + 10);
  tree.plug(other, w1Slave(0x550));
  await box.untilState("other", "open");
  await until("85 degrees that were measured are at the hub", () =>
    temperaturesOf(other).some((temperature) => temperature?.value === 85),
  );
  expect(new Set(temperaturesOf(other).map((temperature) => temperature?.value))).toEqual(
    new Set([-10.125, 85]),
  );
  expect(await box.discardsOf("steady")).toEqual({});
  expect(await box.discardsOf("other")).toMatchObject({ noAnswer: expect.any(Number) });
  await box.stop();
});
