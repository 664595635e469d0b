// The chat room. Text goes out as it is; what comes in is {"messages": [...]} and, where the
// server tells it, the epoch and offset up to which that reaches. After a lost connection the page
// asks for what came after them; "recovered" says whether that was all there still. If it was not,
// what is on screen stays, and a divider tells where messages may be missing.

import { Connection } from "./connection.js";
import { Log, showConnection } from "./panel.js";

// {epoch, offset} of the last message on screen.
let position = null;
// The next message is the first of its connection.
let isFirst = true;

const connection = new Connection(() =>
  position ? `/chat?since=${encodeURIComponent(`${position.epoch}-${position.offset}`)}` : "/chat");
const list = document.getElementById("log");
const resumed = document.getElementById("resumed");
const name = document.getElementById("name");
const text = document.getElementById("text");
const log = new Log(list);

// The first message of a connection: the history of the room, or what came after `position`.
function join({ messages, epoch, offset, recovered }) {
  const had = list.querySelector(".in") !== null;
  let unseen = messages;
  if (recovered === true) {
    resumed.textContent = `resumed, ${messages.length} missed`;
  } else {
    resumed.textContent = had ? "rejoined" : "";
    if (epoch === undefined || offset === undefined) {
      // Nothing tells which of these are on screen already.
      log.clear();
    } else if (epoch === position?.epoch) {
      const missing = offset - messages.length - position.offset;
      unseen = messages.slice(Math.max(0, -missing));
      if (missing > 0) {
        log.divide(`messages missing here: ${missing}`);
      }
    } else if (had) {
      // Offsets of another life of the room say nothing of this one.
      log.divide("the room began anew: messages may be missing");
    }
  }
  for (const message of unseen) {
    log.earlier(message);
  }
}

function receive(data) {
  if (isFirst) {
    join(data);
  } else {
    for (const message of data.messages) {
      log.received(message, "");
    }
  }
  isFirst = false;
  if (data.epoch !== undefined && data.offset !== undefined) {
    position = { epoch: data.epoch, offset: data.offset };
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
