// A WebSocket that comes back: after an end that nobody asked for it is opened again, each time
// after a longer wait. Random parts of the waits keep the clients of a server that was restarted
// from coming back all at once.

export const STATES = ["CONNECTING", "OPEN", "CLOSING", "CLOSED"];

const FIRST_WAIT = 400;
const LONGEST_WAIT = 20_000;
// An open connection has to last this long before the next wait is the first one again.
const STABLE = 5_000;

export const isSupported = "WebSocket" in window;

// `path` on the server that this page is from.
export function address(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

// Events, of the current socket only: "connecting", "open", "message" (detail: the data), "sent"
// (detail: the data), "closing", "close" (detail: the CloseEvent), "wait" (detail: milliseconds until
// the next attempt).
export class Connection extends EventTarget {
  #path;
  #protocols;
  #socket = null;
  #timer = 0;
  #attempts = 0;
  #openedAt = Infinity;
  #isWanted = false;

  // `path` may be a function, which is asked at every attempt.
  constructor(path, protocols = []) {
    super();
    this.#path = typeof path === "function" ? path : () => path;
    this.#protocols = protocols;
    addEventListener("online", () => this.#isWaiting() && this.open());
    // A page that comes out of the back/forward cache goes on as it was when it went in.
    let wasWanted = false;
    addEventListener("pagehide", () => {
      wasWanted = this.#isWanted;
      this.close(1001);
    });
    addEventListener("pageshow", (event) => event.persisted && wasWanted && this.open());
  }

  get url() {
    return address(this.#path());
  }

  get protocol() {
    return this.#socket?.protocol ?? "";
  }

  get readyState() {
    return this.#socket?.readyState ?? 3;
  }

  get state() {
    return STATES[this.readyState];
  }

  get bufferedAmount() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  get isOpen() {
    return this.readyState === 1;
  }

  open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isWanted = true;
    if (!isSupported || this.readyState < 2) {
      return;
    }
    const socket = new WebSocket(this.url, this.#protocols);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#openedAt = Infinity;
    // The socket before may still be closing; what it says now is no news of this one.
    const whileCurrent = (react) => (event) => this.#socket === socket && react(event);
    socket.onopen = whileCurrent(() => {
      this.#openedAt = performance.now();
      this.#emit("open");
    });
    socket.onmessage = whileCurrent((event) => this.#emit("message", event.data));
    socket.onclose = whileCurrent((event) => this.#closed(event));
    this.#emit("connecting");
  }

  send(data) {
    this.#socket.send(data);
    this.#emit("sent", data);
  }

  // Ends the connection for good, or until `open` is called. A page may only close with 1000 or
  // 3000 to 4999; anything else closes without a code.
  close(code = 1000, reason = "") {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#isWanted = false;
    this.#attempts = 0;
    if (code === 1000 || (code >= 3000 && code <= 4999)) {
      this.#socket?.close(code, reason);
    } else {
      this.#socket?.close();
    }
    this.#emit("closing");
  }

  #isWaiting() {
    return this.#timer !== 0;
  }

  #closed(event) {
    if (performance.now() - this.#openedAt > STABLE) {
      this.#attempts = 0;
    }
    this.#emit("close", event);
    // The server has said what it had to say: nothing more to come for.
    if (!this.#isWanted || event.code === 1000) {
      this.#isWanted = false;
      return;
    }
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts);
    const wait = Math.round(longest / 2 + Math.random() * longest / 2);
    this.#attempts += 1;
    this.#timer = setTimeout(() => this.open(), wait);
    this.#emit("wait", wait);
  }

  #emit(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
