// An echo server on Bun's own WebSocket server, which is uWebSockets.
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    threads: { type: "string", default: "1" },
  },
});
if (values.threads !== "1") {
  console.error("this server has one thread");
  process.exit(2);
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(values.port),
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response("only WebSocket here\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 << 20,
    // Without this, a peer that reads slower than it sends loses messages.
    backpressureLimit: 256 << 20,
    message(socket, message) {
      socket.send(message);
    },
  },
});
console.log(`listening on ws://127.0.0.1:${server.port}`);
