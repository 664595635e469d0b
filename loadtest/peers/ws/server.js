// An echo server on `ws`, the usual WebSocket server of Node.js.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";

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

const http = createServer();
const server = new WebSocketServer({
  server: http,
  perMessageDeflate: false,
  maxPayload: 64 << 20,
});
server.on("connection", (socket) => {
  socket.on("message", (message, binary) => socket.send(message, { binary }));
  // A connection that fails ends; without a listener, the whole process would.
  socket.on("error", () => {});
});
http.listen({ host: "127.0.0.1", port: Number(values.port), backlog: 4096 }, () => {
  console.log(`listening on ws://127.0.0.1:${http.address().port}`);
});
