// Shows prices as they come: {"time": "...", "symbols": {"NAME": price, ...}}.

import { Connection } from "./connection.js";
import { element, showConnection } from "./panel.js";

const KEPT = 60;
const SVG = "http://www.w3.org/2000/svg";

const connection = new Connection("/ticker");
const body = document.querySelector("#prices tbody");
const rows = new Map();
let updates = 0;

function row(symbol) {
  if (!rows.has(symbol)) {
    const chart = document.createElementNS(SVG, "svg");
    chart.setAttribute("viewBox", "0 0 100 24");
    chart.setAttribute("preserveAspectRatio", "none");
    chart.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(SVG, "polyline");
    chart.append(line);
    const cells = { price: element("td", { className: "figure" }), change: element("td", { className: "figure" }) };
    const made = element("tr", {},
      element("td", { className: "symbol" }, symbol), cells.price, cells.change, element("td", {}, chart));
    made.dataset.symbol = symbol;
    body.append(made);
    rows.set(symbol, { ...cells, chart, line, prices: [] });
  }
  return rows.get(symbol);
}

// The points of a line through all prices, from edge to edge.
function points(prices) {
  const low = Math.min(...prices);
  const range = Math.max(...prices) - low || 1;
  const step = 100 / Math.max(prices.length - 1, 1);
  return prices.map((price, at) => `${at * step},${22 - (price - low) / range * 20}`).join(" ");
}

function update(symbol, price) {
  const { prices, price: shown, change, chart, line } = row(symbol);
  const before = prices.at(-1) ?? price;
  prices.push(price);
  prices.splice(0, prices.length - KEPT);
  const percent = before === 0 ? 0 : (price - before) / before * 100;
  const direction = percent > 0 ? "up" : percent < 0 ? "down" : "";
  shown.textContent = price.toFixed(2);
  change.textContent = `${percent > 0 ? "+" : percent < 0 ? "−" : ""}${Math.abs(percent).toFixed(2)} %`;
  change.className = `figure ${direction}`;
  const trend = price - prices[0];
  chart.setAttribute("class", trend > 0 ? "up" : trend < 0 ? "down" : "");
  line.setAttribute("points", points(prices));
}

// A date in the visitor's own time, if it is one.
function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toLocaleTimeString();
}

connection.addEventListener("message", ({ detail }) => {
  const { time, symbols } = JSON.parse(detail);
  for (const [symbol, price] of Object.entries(symbols)) {
    update(symbol, Number(price));
  }
  updates += 1;
  document.getElementById("none").hidden = true;
  document.getElementById("time").textContent = clock(time);
  document.getElementById("updates").textContent = updates;
});

showConnection(connection, document.getElementById("connection"));
connection.open();
