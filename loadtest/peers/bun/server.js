// On Bun's own WebSocket server, which is uWebSockets: an echo server on every path but /broadcast,
// where each message goes to everyone else.
import { parseArgs } from "node:util";

const TOPIC = "broadcast";

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
    const subscribes = request.url.endsWith("/broadcast");
    if (server.upgrade(request, { data: { subscribes } })) return;
    return new Response("only WebSocket here\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 << 20,
    // Without this, a peer that reads slower than it sends loses messages.
    backpressureLimit: 256 << 20,
    open(socket) {
      if (socket.data.subscribes) socket.subscribe(TOPIC);
    },
    message(socket, message) {
      if (socket.data.subscribes) socket.publish(TOPIC, message);
      else socket.send(message);
    },
  },
});
console.log(`listening on ws://127.0.0.1:${server.port}`);
