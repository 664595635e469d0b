// Sends what is typed and shows what comes back, with the time that took.

import { Connection } from "./connection.js";
import { bytes, Log, showConnection, size } from "./panel.js";

const LARGE = 8 * 1024 * 1024;

const connection = new Connection("/echo");
const log = new Log(document.getElementById("log")).follow(connection);
const text = document.getElementById("text");
const binary = document.getElementById("binary");
// When what has not come back yet was sent; echoes keep their order.
let underWay = [];

function send(data) {
  connection.send(data);
  underWay.push(performance.now());
  log.sent(data);
}

connection.addEventListener("message", ({ detail: data }) => {
  const trip = performance.now() - underWay.shift();
  log.received(data, `${bytes(size(data))}, ${trip.toFixed(1)} ms`);
});
connection.addEventListener("open", () => {
  underWay = [];
});

document.getElementById("send").addEventListener("submit", (event) => {
  event.preventDefault();
  send(binary.checked ? new TextEncoder().encode(text.value).buffer : text.value);
  // Not by tapping the button: a phone would show its keyboard.
  if (document.activeElement === text) {
    text.select();
  }
});
// Enter sends, as in any chat; with Shift it is a new line.
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (connection.isOpen) {
      text.form.requestSubmit();
    }
  }
});
document.getElementById("goodbye").addEventListener("click", () => send("Goodbye"));
document.getElementById("large").addEventListener("click", () => send(new ArrayBuffer(LARGE)));
document.getElementById("close-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const code = Number(document.getElementById("code").value);
  const why = document.getElementById("why");
  // A reason is limited in bytes, not in characters.
  const fits = size(why.value) <= 123;
  why.setCustomValidity(fits ? "" : "at most 123 bytes");
  if (why.reportValidity()) {
    connection.close(code, why.value);
  }
});
document.getElementById("why").addEventListener("input", ({ target }) => target.setCustomValidity(""));
document.getElementById("clear").addEventListener("click", () => log.clear());

showConnection(connection, document.getElementById("connection"));
connection.open();
