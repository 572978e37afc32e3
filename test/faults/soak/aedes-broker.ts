/** A broker in a process of its own, on the port given; ends with its parent. */
import { TestBroker } from "../../support/test-broker.ts";

const broker = new TestBroker({ concurrency: 1_000 });
broker.port = Number(process.argv[2]);
// Hundreds of millions of acknowledgements are too many to keep.
broker.aedes.removeAllListeners("ack");
await broker.start();
process.on("disconnect", () => process.exit(0));
