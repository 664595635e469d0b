// Stands in for the services of pages whose endpoints this server does not have.

// A chat room: one order, a history, and resuming from an offset.
export class Room {
  #history = [];
  #epoch = "e1";
  #sockets = new Set();

  async serve(page) {
    await page.routeWebSocket(/\/chat(\?.*)?$/, (socket) => this.#join(socket));
  }

  #join(socket) {
    const since = new URL(socket.url()).searchParams.get("since");
    const [epoch, offset] = since?.split("-") ?? [];
    const recovered = epoch === this.#epoch;
    const messages = this.#history.slice(recovered ? Number(offset) : 0);
    this.#send(socket, { messages, ...(since !== null && { recovered }) });
    this.#sockets.add(socket);
    socket.onMessage((text) => {
      this.#history.push(text);
      for (const other of this.#sockets) {
        this.#send(other, { messages: [text] });
      }
    });
    socket.onClose(() => this.#sockets.delete(socket));
  }

  #send(socket, message) {
    socket.send(JSON.stringify({ ...message, epoch: this.#epoch, offset: this.#history.length }));
  }

  // Every connection is lost.
  async cut() {
    const lost = [...this.#sockets];
    this.#sockets.clear();
    await Promise.all(lost.map((socket) => socket.close({ code: 1001, reason: "cut" })));
  }
}

export async function serveTicks(page) {
  await page.routeWebSocket("**/ticker", (socket) => {
    const symbols = { SOCK: 120.5, COHO: 44.2, CHUM: 9.31, PINK: 3.07 };
    let tick = 0;
    const timer = setInterval(() => {
      tick += 1;
      Object.keys(symbols).forEach((name, at) => {
        symbols[name] *= 1 + 0.01 * Math.sin(tick * (at + 2) / 3);
      });
      socket.send(JSON.stringify({ time: new Date().toISOString(), symbols }));
    }, 40);
    socket.onClose(() => clearInterval(timer));
  });
}
