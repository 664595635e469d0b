// What the pages have in common: the state of a connection, and a log of what it carried.

const ROWS = 200;
// More than the chat page lets one say.
const LONGEST_TEXT = 2_100;

// The names of close codes (RFC 6455 section 7.4.1 and its registry).
const CODES = {
  1000: "normal closure",
  1001: "going away",
  1002: "protocol error",
  1003: "unsupported data",
  1005: "no code",
  1006: "abnormal closure",
  1007: "invalid payload",
  1008: "policy violation",
  1009: "message too big",
  1010: "missing extension",
  1011: "internal error",
  1012: "service restart",
  1013: "try again later",
  1014: "bad gateway",
};

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

// Shows a connection in `section`, with buttons to end it and to begin it again.
export function showConnection(connection, section) {
  const name = element("strong", { id: "state" });
  const number = element("span", { className: "number" });
  const facts = new Map();
  const list = element("dl", { className: "facts" });
  for (const [id, label] of [
    ["buffered", "bufferedAmount"],
    ["out", "sent"],
    ["in", "received"],
    ["protocol", "protocol"],
    ["close", "last close"],
    ["reason", "reason"],
  ]) {
    const value = element("dd", { id });
    const row = element("div", { hidden: true }, element("dt", {}, label), value);
    facts.set(id, (text) => {
      value.textContent = text;
      row.hidden = text === "";
    });
    list.append(row);
  }
  const url = element("p", { className: "mono url", id: "url" });
  const again = element("p", { className: "again", id: "again", hidden: true });
  const button = element("button", { type: "button", id: "toggle" });
  const state = element("div", { className: "state" },
    element("span", { className: "dot" }), name, number);
  state.setAttribute("role", "status");
  section.append(element("h2", {}, "Connection"), url,
    element("div", { className: "switch" }, state, button), again, list);

  let next = 0;
  let shown = "";
  const show = () => {
    const current = `${connection.readyState} ${connection.protocol}`;
    if (current !== shown) {
      shown = current;
      section.dataset.state = connection.state;
      name.textContent = connection.state;
      number.textContent = `readyState ${connection.readyState}`;
      facts.get("protocol")(connection.protocol);
      url.textContent = connection.url;
      for (const control of document.querySelectorAll("[data-needs-open]")) {
        control.disabled = !connection.isOpen;
      }
    }
    const waits = next > performance.now() && connection.readyState === 3;
    button.textContent = waits ? "Connect now" : connection.readyState < 2 ? "Disconnect" : "Connect";
    button.disabled = connection.readyState === 2;
    facts.get("buffered")(bytes(connection.bufferedAmount));
    const text = waits ? `Trying again in ${((next - performance.now()) / 1000).toFixed(1)} s` : "";
    if (again.textContent !== text) {
      again.textContent = text;
      again.hidden = text === "";
    }
  };
  button.addEventListener("click", () => {
    if (connection.readyState < 2) {
      connection.close();
    } else {
      connection.open();
    }
  });
  // How many messages there were, and when the last of them was.
  for (const [id, type] of [["out", "sent"], ["in", "message"]]) {
    let count = 0;
    connection.addEventListener(type, () => {
      count += 1;
      facts.get(id)(`${count.toLocaleString("en")}, last ${clock(new Date())}`);
    });
  }
  connection.addEventListener("close", ({ detail }) => {
    const { code, reason } = detail;
    facts.get("close")(code in CODES ? `${code} ${CODES[code]}` : `${code}`);
    facts.get("reason")(reason);
  });
  connection.addEventListener("wait", ({ detail }) => {
    next = performance.now() + detail;
  });
  for (const type of ["connecting", "closing"]) {
    connection.addEventListener(type, () => {
      next = 0;
    });
  }
  for (const type of ["connecting", "open", "closing", "close", "wait", "sent"]) {
    connection.addEventListener(type, show);
  }
  // Nothing says when bufferedAmount falls.
  const watch = () => {
    show();
    requestAnimationFrame(watch);
  };
  watch();
}

export function size(data) {
  if (typeof data === "string") {
    return new TextEncoder().encode(data).length;
  }
  return data.byteLength ?? data.size;
}

export function bytes(count) {
  return `${count.toLocaleString("en")} B`;
}

function excerpt(data) {
  if (typeof data === "string") {
    return data.length > LONGEST_TEXT ? `${data.slice(0, LONGEST_TEXT)} …` : data;
  }
  const start = Array.from(new Uint8Array(data.slice(0, 16)));
  const hex = start.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return `binary ${hex}${size(data) > start.length ? " …" : ""}`;
}

function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

// The messages of a connection in `list`, an <ol class="log">, each with its time.
export class Log {
  #list;

  constructor(list) {
    this.#list = list;
    this.clear();
  }

  // Also says when the connection opens and closes.
  follow(connection) {
    connection.addEventListener("open", () => this.note(`open ${connection.url}`));
    connection.addEventListener("close", ({ detail }) => {
      const { code, reason, wasClean } = detail;
      this.note(`close ${code}${reason && ` ${reason}`}, ${wasClean ? "clean" : "not clean"}`);
    });
    return this;
  }

  sent(data, remark) {
    this.#add("out", "→", "sent", excerpt(data), remark ?? bytes(size(data)));
  }

  received(data, remark) {
    this.#add("in", "←", "received", excerpt(data), remark ?? bytes(size(data)));
  }

  // What was sent before this connection began, nobody knows when.
  earlier(data) {
    this.#add("in", "←", "received", excerpt(data), "", "earlier");
  }

  note(text) {
    this.#add("note", "·", "", text, "");
  }

  // Between what was shown before and what does not follow from it.
  divide(text) {
    if (this.#list.lastElementChild?.className !== "divider") {
      this.#add("divider", "", "", text, "", "");
    }
  }

  clear() {
    this.#list.replaceChildren();
    this.#list.classList.add("empty");
  }

  #add(kind, arrow, spoken, text, remark, when = null) {
    const list = this.#list;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const now = new Date();
    const mark = element("span", { className: "arrow" }, arrow);
    mark.setAttribute("aria-hidden", "true");
    list.append(element("li", { className: kind },
      mark,
      when === null
        ? element("time", { dateTime: now.toISOString() }, clock(now))
        : element("span", { className: "when" }, when),
      element("span", { className: "text" },
        element("span", { className: "unseen" }, spoken && `${spoken}: `), text),
      element("span", { className: "size" }, remark)));
    list.classList.remove("empty");
    while (list.childElementCount > ROWS) {
      list.firstElementChild.remove();
    }
    if (atEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }
}
