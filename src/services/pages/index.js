// Measures the round trip to this server while the page is open.

import { Connection } from "./connection.js";
import { showConnection } from "./panel.js";

const INTERVAL = 1_000;
const KEPT = 30;

const connection = new Connection("/echo");
const trips = [];
let sentAt = 0;

function milliseconds(time) {
  return `${time.toFixed(2)} ms`;
}

function measure() {
  if (connection.isOpen && sentAt === 0) {
    sentAt = performance.now();
    connection.send(`round trip ${Math.round(sentAt)}`);
  }
}

connection.addEventListener("message", () => {
  const trip = performance.now() - sentAt;
  sentAt = 0;
  trips.push(trip);
  trips.splice(0, trips.length - KEPT);
  const sorted = trips.toSorted((a, b) => a - b);
  document.getElementById("latest").textContent = milliseconds(trip);
  document.getElementById("median").textContent = milliseconds(sorted[sorted.length >> 1]);
  document.getElementById("count").textContent = trips.length;
});
connection.addEventListener("open", () => {
  sentAt = 0;
  measure();
});

showConnection(connection, document.getElementById("connection"));
connection.open();
setInterval(measure, INTERVAL);
