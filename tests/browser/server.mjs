// The server under test as a child process, and a proxy that can cut its connections.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { createInterface } from "node:readline";

const BINARY = process.env.SOCKEYE_BINARY;
const PATIENCE = 10_000;

export class Server {
  static #running = new Set();
  #child;

  // Starts it with these arguments and waits until it listens.
  static async start(...args) {
    const server = new Server();
    const common = (process.env.SOCKEYE_TEST_ARGS ?? "").split(" ").filter(Boolean);
    server.#child = spawn(BINARY, [...args, ...common], { stdio: ["ignore", "pipe", "inherit"] });
    Server.#running.add(server);
    const lines = createInterface({ input: server.#child.stdout });
    const wanted = args.filter((arg) => arg === "--listen").length;
    server.addresses = [];
    const timer = setTimeout(() => server.#child.kill("SIGKILL"), PATIENCE);
    for await (const line of lines) {
      server.addresses.push(line.replace("listening on ws://", ""));
      if (server.addresses.length >= wanted) {
        break;
      }
    }
    clearTimeout(timer);
    if (server.addresses.length < wanted) {
      throw new Error("the server does not listen");
    }
    return server;
  }

  get address() {
    return this.addresses[0];
  }

  get port() {
    return Number(this.address.split(":").at(-1));
  }

  get origin() {
    return `http://${this.address}`;
  }

  // Ends those that failed tests have left, too: node would wait for them.
  static async stopAll() {
    await Promise.all([...Server.#running].map((server) => server.stop("SIGKILL")));
  }

  // Ends it; "SIGTERM" lets it say goodbye, "SIGKILL" does not.
  async stop(signal = "SIGTERM") {
    Server.#running.delete(this);
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      this.#child.kill(signal);
      await exit;
    }
  }
}

// Passes bytes on to `port` until it is told to cut.
export class Proxy {
  #server;
  #sockets = new Set();
  #isPaused = false;

  static async start(port) {
    const proxy = new Proxy();
    proxy.#server = net.createServer((client) => {
      if (proxy.#isPaused) {
        client.destroy();
        return;
      }
      const upstream = net.connect(port, "127.0.0.1");
      for (const [from, to] of [[client, upstream], [upstream, client]]) {
        proxy.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          proxy.#sockets.delete(from);
          to.destroy();
        });
        from.pipe(to);
      }
    });
    proxy.#server.listen(0, "127.0.0.1");
    proxy.#server.unref();
    await once(proxy.#server, "listening");
    return proxy;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  // Nothing new comes through until `resume`.
  pause() {
    this.#isPaused = true;
  }

  resume() {
    this.#isPaused = false;
  }

  cut() {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  stop() {
    this.#server.close();
    this.cut();
  }
}

export async function isFree(port) {
  const probe = net.createServer();
  const free = await new Promise((resolve) => {
    probe.once("error", () => resolve(false));
    probe.listen(port, "127.0.0.1", () => resolve(true));
  });
  if (free) {
    await new Promise((resolve) => probe.close(resolve));
  }
  return free;
}
