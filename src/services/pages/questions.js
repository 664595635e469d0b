// Asks the server, and shows how it introduced itself.

import { Connection } from "./connection.js";
import { element, Log, showConnection } from "./panel.js";

const connection = new Connection("/questions", ["json"]);
const log = new Log(document.getElementById("log")).follow(connection);
const question = document.getElementById("question");
const answer = document.getElementById("answer");

function welcome(data) {
  const fields = Object.entries(data).map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, String(value))));
  document.getElementById("fields").replaceChildren(...fields);
  document.getElementById("welcome").hidden = false;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

connection.addEventListener("message", ({ detail: text }) => {
  const data = parse(text);
  if (data?.type === "welcome" && "subProtocol" in data) {
    welcome(data);
  } else {
    answer.textContent = text;
  }
  log.received(text);
});
document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  connection.send(question.value);
  log.sent(question.value);
});
document.getElementById("clear").addEventListener("click", () => log.clear());

showConnection(connection, document.getElementById("connection"));
connection.open();
