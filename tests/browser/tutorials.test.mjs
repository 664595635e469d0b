// Pages as people write them who follow a tutorial: inline scripts, from another origin than the
// server's, with the tutorials' own ports if these are free here.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { once } from "node:events";
import http from "node:http";
import { after, afterEach, before, test } from "node:test";

import { Browser, eventually, shot } from "./browser.mjs";
import { isFree, Server } from "./server.mjs";

let server;
let browser;
let site;
let origin;

before(async () => {
  const ports = await Promise.all([9998, 8787].map(async (port) => await isFree(port) ? port : 0));
  server = await Server.start(...ports.flatMap((port) => ["--listen", `127.0.0.1:${port}`]));
  const [echo, questions] = server.addresses.map((address) => address.split(":").at(-1));
  site = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    if (pathname === "/favicon.ico") {
      response.writeHead(204).end();
      return;
    }
    const html = readFileSync(new URL(`tutorials${pathname}`, import.meta.url), "utf8")
      .replace("localhost:9998", `localhost:${echo}`)
      .replace("localhost:8787", `localhost:${questions}`);
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(html);
  });
  site.listen(0, "127.0.0.1");
  await once(site, "listening");
  origin = `http://127.0.0.1:${site.address().port}`;
  browser = await Browser.launch();
});
after(async () => {
  await browser?.close();
  site?.close();
  await server?.stop();
  await Server.stopAll();
});
afterEach(() => browser.check());

test("the echo tutorial says what it is to say", async () => {
  const page = await browser.page();
  const said = [];
  page.on("dialog", (dialog) => {
    said.push(dialog.message());
    dialog.accept();
  });
  await page.goto(`${origin}/echo.html`);
  await page.click("a");
  await eventually(() => said, [
    "WebSocket is supported by your Browser!",
    "Message is sent...",
    "Message is received: Message to send",
    "Connection is closed... 1000",
  ]);
  await shot(page, "tutorial-echo");
});

test("the questions tutorial shows answers and hides the welcome", async () => {
  const page = await browser.page();
  await page.goto(`${origin}/questions.html`);
  const lines = () => page.locator("#chatLog p").allTextContents();
  await eventually(lines, ["Socket status: 1 (open)"]);
  for (const question of ["1", "2", "3"]) {
    const count = (await lines()).length;
    await page.selectOption("#question", question);
    await eventually(async () => (await lines()).length, count + 2);
  }
  const all = await lines();
  assert.equal(all[1], "Sent: What is your name?");
  assert.equal(all[2], "Received: sockeye");
  assert.match(all[4], /^Received: .*Linux/);
  assert.match(all[6], /^Received: (0[1-9]|1[0-2]):[0-5]\d:[0-5]\d$/);
  await shot(page, "tutorial-questions");
  await page.click("#disconnect");
  await eventually(async () => (await lines()).at(-1), "Socket status: 3 (closed)");
});

test("the chat tutorial talks in one room", async () => {
  const tabs = [await browser.page(), await browser.page()];
  for (const tab of tabs) {
    await tab.goto(`${origin}/chat.html`);
    await tab.waitForFunction(() => socket.readyState === 1);
  }
  const lines = (tab) => tab.locator("#messages li").allTextContents();
  const odd = "</script><b>1 < 2 & \"so on\"</b> \u0007🐟";
  for (const [at, text] of ["first", "second", odd].entries()) {
    await tabs[at % 2].fill("#message", text);
    await tabs[at % 2].click("button");
    await eventually(async () => (await lines(tabs[1 - at % 2])).length, at + 1);
  }
  await eventually(() => lines(tabs[0]), ["first", "second", odd]);
  await eventually(() => lines(tabs[1]), ["first", "second", odd]);
  await shot(tabs[0], "tutorial-chat");
});
