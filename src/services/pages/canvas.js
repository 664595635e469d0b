// Sends the pixels of one canvas and draws what comes back on another.

import { Connection } from "./connection.js";
import { bytes, showConnection } from "./panel.js";

const connection = new Connection("/echo");
const original = document.getElementById("original");
const copy = document.getElementById("copy");
const { width, height } = original;
const from = original.getContext("2d", { willReadFrequently: true });
const to = copy.getContext("2d", { willReadFrequently: true });
const live = document.getElementById("live");

let underWay = null;
let drawnBy = null;
let received = [];
let seed = 1;

// Hills behind a river, and fish in it. The same seed draws the same picture.
function draw(time) {
  let state = seed * 2654435761 % 4294967296;
  const random = () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
  const sky = from.createLinearGradient(0, 0, 0, height);
  // From blue over violet to the orange of an evening.
  const hue = 190 + random() * 200;
  sky.addColorStop(0, `hsl(${hue} 70% 82%)`);
  sky.addColorStop(1, `hsl(${hue + 40} 65% 62%)`);
  from.fillStyle = sky;
  from.fillRect(0, 0, width, height);
  for (let hill = 0; hill < 3; hill += 1) {
    from.fillStyle = `hsl(${150 - hill * 12} ${26 + hill * 6}% ${56 - hill * 12}%)`;
    from.beginPath();
    from.moveTo(0, height);
    const phase = random() * 7;
    for (let x = 0; x <= width; x += 4) {
      from.lineTo(x, 105 + hill * 28 + 18 * Math.sin(phase + x / (48 - hill * 9)));
    }
    from.lineTo(width, height);
    from.fill();
  }
  from.fillStyle = "hsl(205 55% 38%)";
  from.fillRect(0, 178, width, height - 178);
  for (let fish = 0; fish < 6; fish += 1) {
    const speed = 20 + random() * 60;
    const x = (random() * width + time / 1000 * speed) % (width + 60) - 30;
    swim(x, 190 + random() * 38, 9 + random() * 9, time / 120 + fish);
  }
}

function swim(x, y, length, phase) {
  from.fillStyle = "hsl(8 72% 52%)";
  from.beginPath();
  from.ellipse(x, y, length, length / 2.6, 0, 0, 7);
  from.moveTo(x - length * 0.8, y);
  from.lineTo(x - length * 1.6, y - length / 2 + 2 * Math.sin(phase));
  from.lineTo(x - length * 1.6, y + length / 2 + 2 * Math.sin(phase));
  from.fill();
  from.fillStyle = "hsl(130 30% 40%)";
  from.beginPath();
  from.ellipse(x + length * 0.7, y, length / 2.6, length / 3, 0, 0, 7);
  from.fill();
}

function send() {
  if (underWay || !connection.isOpen) {
    return;
  }
  const pixels = from.getImageData(0, 0, width, height).data.buffer;
  underWay = { pixels, at: performance.now() };
  connection.send(pixels);
  document.getElementById("size").textContent = bytes(pixels.byteLength);
}

function isSame(a, b) {
  const [left, right] = [new Uint32Array(a), new Uint32Array(b)];
  return left.length === right.length && left.every((pixel, at) => pixel === right[at]);
}

connection.addEventListener("message", ({ detail: pixels }) => {
  const now = performance.now();
  to.putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  received = [...received.filter((at) => now - at < 1_000), now];
  document.getElementById("trip").textContent = `${(now - underWay.at).toFixed(1)} ms`;
  document.getElementById("rate").textContent = live.checked ? received.length : "–";
  document.getElementById("same").textContent = isSame(underWay.pixels, pixels) ? "yes" : "no";
  underWay = null;
  if (live.checked) {
    requestAnimationFrame(step);
  }
});
connection.addEventListener("open", () => {
  underWay = null;
  if (live.checked) {
    requestAnimationFrame(step);
  }
});

function step(time) {
  if (!drawnBy) {
    draw(time);
  }
  send();
}

live.addEventListener("change", () => live.checked && requestAnimationFrame(step));
document.getElementById("send").addEventListener("click", send);
document.getElementById("another").addEventListener("click", () => {
  seed += 1;
  drawnBy = null;
  draw(0);
});

// Whoever draws keeps their picture.
original.addEventListener("pointerdown", (event) => {
  original.setPointerCapture(event.pointerId);
  drawnBy = event.pointerId;
  from.beginPath();
  from.moveTo(...at(event));
});
original.addEventListener("pointermove", (event) => {
  if (original.hasPointerCapture(event.pointerId)) {
    from.lineTo(...at(event));
    from.strokeStyle = "hsl(8 72% 45%)";
    from.lineWidth = 5;
    from.lineCap = "round";
    from.lineJoin = "round";
    from.stroke();
  }
});

function at(event) {
  const scale = width / original.clientWidth;
  return [event.offsetX * scale, event.offsetY * scale];
}

draw(0);
showConnection(connection, document.getElementById("connection"));
connection.open();
