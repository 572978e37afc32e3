/** Recognition of a chip by its driver's setup, as far as that changes nothing. */
import { expect, test } from "vitest";
import type { Conversation, Exchange } from "../../src/drivers/driver.ts";
import { WrongChip } from "../../src/drivers/driver.ts";
import { answersAs } from "../../src/scan/i2c-buses.ts";

/** Whether a chip with this in all registers is recognised, and what it was asked. */
async function recognise(setup: () => Conversation, register: number) {
  const asked: Exchange[] = [];
  const isIt = await answersAs({ setup }, {}, async (exchange) => {
    asked.push(exchange);
    return new Uint8Array(exchange.read ?? 0).fill(register);
  });
  return { isIt, asked };
}
const readId: Exchange = { write: [0xd0], read: 1 };
const none = new Uint8Array();

test("a driver that checks an id recognises its chip and no other, and is stopped before it writes", async () => {
  function* setup(): Conversation {
    const [id] = yield readId;
    if (id !== 0x60) throw new WrongChip("id");
    yield { write: [0xe0, 0xb6] };
    return none;
  }
  expect(await recognise(setup, 0x60)).toEqual({ isIt: true, asked: [readId] });
  expect(await recognise(setup, 0x61)).toEqual({ isIt: false, asked: [readId] });
});

test("an id that is checked after other registers were read counts as well", async () => {
  function* setup(): Conversation {
    yield { write: [0x00], read: 2 };
    const [id] = yield readId;
    if (id !== 0x60) throw new WrongChip("id");
    return none;
  }
  expect((await recognise(setup, 0x60)).isIt).toBe(true);
  expect((await recognise(setup, 0x61)).isIt).toBe(false);
});

test("a driver that takes any chip proves nothing", async () => {
  function* setup(): Conversation {
    return yield { write: [0x88], read: 4 };
  }
  expect((await recognise(setup, 0x60)).isIt).toBe(false);
});

test.each<[string, Exchange]>([
  ["a write", { write: [0x01] }],
  ["a command of two bytes", { write: [0x24, 0x00], read: 6 }],
  ["a bare read, which may be an answer to something else", { read: 2 }],
])("%s at the beginning is not held", async (_, first) => {
  function* setup(): Conversation {
    yield first;
    return none;
  }
  expect(await recognise(setup, 0x60)).toEqual({ isIt: false, asked: [] });
});

test("a pause at the beginning is not held", async () => {
  function* setup(): Conversation {
    yield { waitMs: 1_000 };
    return none;
  }
  expect(await recognise(setup, 0x60)).toEqual({ isIt: false, asked: [] });
});
