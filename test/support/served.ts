import { createServer, type RequestListener, type Server } from "node:http";
import { onTestFinished } from "vitest";

/** A real server on a free port, or on `port`, gone when the test is over. */
export async function served(
  answer: RequestListener,
  port = 0,
): Promise<{ readonly url: string; readonly server: Server; readonly port: number }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it listens on no port");
  return { url: `http://127.0.0.1:${address.port}`, server, port: address.port };
}
