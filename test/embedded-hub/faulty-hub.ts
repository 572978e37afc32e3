import { afterAll, afterEach } from "vitest";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { closeSdk, Message, moduleFromEnvironment, openModule, type SdkModule } from "./clients.ts";

/** A hub without faults at the begin of each test, for the tests of one file, and modules of the Azure SDK on it. */
export async function faultyHub() {
  const hub = await startEmbeddedHub({ inputRedeliveryMs: 300 });
  let made = 0;
  const opened: SdkModule[] = [];

  afterEach(async () => {
    hub.clearFaults();
    await hub.startListening();
    await Promise.all(opened.splice(0).map(closeSdk));
  });
  afterAll(() => hub.stop());

  /** Each test has a module of its own. */
  function newModule(): string {
    const moduleId = `m${++made}`;
    hub.createModule("edge", moduleId);
    return moduleId;
  }

  async function create(moduleId: string): Promise<SdkModule> {
    const client = await moduleFromEnvironment(hub.environment(moduleId));
    opened.push(client);
    return client;
  }

  async function open(moduleId = newModule()): Promise<SdkModule> {
    const client = await openModule(hub, moduleId);
    opened.push(client);
    return client;
  }

  function send(client: SdkModule, body: string) {
    const message = new Message(body);
    message.messageId = body;
    return client.sendOutputEvent("out", message);
  }

  function bodies(): string[] {
    return hub.messages.map(({ body }) => body.toString());
  }

  return { hub, newModule, create, open, send, bodies };
}
