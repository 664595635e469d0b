// The chat room. Text goes out as it is; what comes in is {"messages": [...]} and, where the
// server tells it, the epoch and offset up to which that reaches. After a lost connection the page
// asks for what came after them; "recovered" says whether that was all there still.

import { Connection } from "./connection.js";
import { Log, showConnection } from "./panel.js";

let position = null;
// The next message is the first of its connection.
let isFirst = true;

const connection = new Connection(() => position ? `/chat?since=${encodeURIComponent(position)}` : "/chat");
const list = document.getElementById("log");
const resumed = document.getElementById("resumed");
const name = document.getElementById("name");
const text = document.getElementById("text");
const log = new Log(list);

function receive({ messages, epoch, offset, recovered }) {
  if (isFirst && recovered !== true) {
    // The whole history of the room: what is shown is part of it, or can no longer be joined to it.
    const had = list.querySelector(".in") !== null;
    log.clear();
    resumed.textContent = had ? "rejoined" : "";
  } else if (isFirst) {
    resumed.textContent = `resumed, ${messages.length} missed`;
  }
  for (const message of messages) {
    if (isFirst) {
      log.earlier(message);
    } else {
      log.received(message, "");
    }
  }
  isFirst = false;
  if (epoch !== undefined && offset !== undefined) {
    position = `${epoch}-${offset}`;
  }
}

connection.addEventListener("open", () => {
  isFirst = true;
});
connection.addEventListener("message", ({ detail }) => receive(JSON.parse(detail)));
document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (said !== "" && connection.isOpen) {
    connection.send(name.value.trim() ? `${name.value.trim()}: ${said}` : said);
    text.value = "";
    text.focus();
  }
});

showConnection(connection, document.getElementById("connection"));
connection.open();
