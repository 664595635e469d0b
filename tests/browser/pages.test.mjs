// The built-in pages in a real browser, over the running server.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";

import {
  Browser, DESKTOP, DESKTOP_DARK, PHONE, PHONE_DARK, eventually, rows, shot, waitForState,
} from "./browser.mjs";
import { Proxy, Server } from "./server.mjs";

const PAGES = ["index", "echo", "questions", "chat", "canvas", "ticker"];
// What a console may say once its server was killed. The page's icon may be under way then.
const LOST = /WebSocket connection to .* failed|Failed to load resource: net::ERR_CONNECTION_/;

let server;
let browser;

before(async () => {
  server = await Server.start("--listen", "127.0.0.1:0");
  browser = await Browser.launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await Server.stopAll();
});
afterEach(() => browser.check());

function url(name, origin = server.origin) {
  return name === "index" ? `${origin}/` : `${origin}/${name}.html`;
}

async function open(name, options = DESKTOP, expected = null, origin = server.origin) {
  const page = await browser.page(options, expected);
  await page.goto(url(name, origin));
  await waitForState(page, "OPEN");
  return page;
}

// Does what a visitor does first, so that a screenshot has something to show.
const VISITS = {
  async index(page) {
    await page.locator("#latest", { hasText: "ms" }).waitFor();
  },
  async echo(page) {
    await page.click("#send .main");
    await page.locator("#log .in").first().waitFor();
    await page.check("#binary");
    await page.click("#send .main");
    await page.locator("#log .in").nth(1).waitFor();
  },
  async questions(page) {
    for (const question of ["1", "2", "3"]) {
      await page.selectOption("#question", question);
      await page.click("#ask button");
    }
    await page.locator("#log .in").nth(3).waitFor();
  },
  async chat(page) {
    for (const [name, said] of [
      ["Ada", "Good morning!"], ["Bo", "Are the salmon back already?"],
      ["Ada", "The first ones passed the weir last night, forty of them before it was dark."],
      ["Bo", "Then I will be there at noon."],
    ]) {
      await page.fill("#name", name);
      await page.fill("#text", said);
      await page.keyboard.press("Enter");
      await page.locator("#log .in", { hasText: said }).first().waitFor();
    }
  },
  async canvas(page) {
    await page.click("#send");
    await page.locator("#same", { hasText: "yes" }).waitFor();
  },
  async ticker(page) {
    await page.locator("#prices tbody tr").first().waitFor();
    await page.waitForFunction(() => Number(document.getElementById("updates").textContent) >= 4);
  },
};

for (const name of PAGES) {
  for (const [look, options] of Object.entries({
    desktop: DESKTOP, "desktop-dark": DESKTOP_DARK, phone: PHONE, "phone-dark": PHONE_DARK,
  })) {
    test(`${name} on a ${look}`, async () => {
      // Nobody has said anything in the room of a new server.
      const own = await Server.start("--listen", "127.0.0.1:0");
      const page = await open(name, options, null, own.origin);
      await VISITS[name](page);
      await shot(page, `${name}-${look}`);
      const fit = await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
      assert.ok(fit, "nothing is wider than the screen");
      const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, a")]
        .filter((control) => !(control.labels?.length || control.textContent.trim() || control.ariaLabel))
        .map((control) => control.outerHTML));
      assert.deepEqual(nameless, [], "every control has a name");
      await browser.check();
      await own.stop();
    });
  }
}

test("index: names the endpoints that the README names", async () => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const endpoints = [...readme.matchAll(/^\| `(\/[^`]*)` \| (.*)/gm)]
    .filter(([, , does]) => !does.startsWith("plain HTTP"))
    .map(([, path]) => path);
  assert.ok(endpoints.includes("/echo"), `${endpoints}`);
  const page = await open("index");
  const paths = await page.locator("tbody td:first-child").allTextContents();
  assert.deepEqual(paths.sort(), endpoints.sort());
});

test("echo: text and binary come back, and are told apart", async () => {
  const page = await open("echo");
  for (const text of ["hello", "Grüße, 🐟", "</script><b>x</b>", ""]) {
    await page.fill("#text", text);
    await page.click("#send .main");
  }
  await page.check("#binary");
  await page.fill("#text", "Goodbye");
  await page.click("#send .main");
  await eventually(async () => (await rows(page)).filter(([kind]) => kind === "in").map(([, text]) => text),
    ["hello", "Grüße, 🐟", "</script><b>x</b>", "", "binary 47 6f 6f 64 62 79 65"]);
  // A binary Goodbye is an echo like any other.
  await waitForState(page, "OPEN");
});

test("echo: bufferedAmount rises with what waits and falls to nothing", async () => {
  const page = await open("echo");
  const seen = page.evaluate(() => new Promise((resolve) => {
    let most = 0;
    const watch = () => {
      const now = Number(document.getElementById("buffered").textContent.replace(/\D/g, ""));
      most = Math.max(most, now);
      if (most > 0 && now === 0) {
        resolve(most);
      } else {
        requestAnimationFrame(watch);
      }
    };
    watch();
  }));
  await page.click("#large");
  assert.ok(await seen > 1_000_000, `${await seen} bytes were seen waiting`);
  await page.locator("#log .in .size", { hasText: "8,388,608 B" }).waitFor();
});

test("echo: the text Goodbye ends it with 1000, for good", async () => {
  const page = await open("echo");
  await page.click("#goodbye");
  await waitForState(page, "CLOSED");
  assert.equal(await page.textContent("#close"), "1000 normal closure");
  assert.deepEqual((await rows(page)).slice(1),
    [["out", "Goodbye"], ["in", "Goodbye"], ["note", "close 1000, clean"]]);
  assert.equal(await page.isDisabled("#send .main"), true);
  await page.waitForTimeout(1_000);
  await waitForState(page, "CLOSED");
  await page.click("#toggle");
  await waitForState(page, "OPEN");
});

// The server answers with the code alone, and what it answers is what a browser reports.
test("echo: a close code of one's own", async () => {
  const page = await open("echo");
  await page.click("summary");
  await page.fill("#code", "4321");
  await page.fill("#why", "ünd tschüß");
  await page.click("#close-form button");
  await waitForState(page, "CLOSED");
  assert.equal(await page.textContent("#close"), "4321");
  assert.equal(await page.textContent("#state"), "CLOSED");
  assert.equal((await rows(page)).at(-1)[1], "close 4321, clean");
});

test("a reason of the server's is shown", async () => {
  const page = await browser.page();
  await page.routeWebSocket("**/echo", (socket) => {
    socket.onMessage((text) => socket.close({ code: 1000, reason: text }));
  });
  await page.goto(url("echo"));
  await waitForState(page, "OPEN");
  await page.fill("#text", "ünd tschüß");
  await page.click("#send .main");
  await waitForState(page, "CLOSED");
  assert.equal(await page.textContent("#reason"), "ünd tschüß");
  assert.equal((await rows(page)).at(-1)[1], "close 1000 ünd tschüß, clean");
});

test("echo: usable with a keyboard alone", async () => {
  const page = await open("echo");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  for (let press = 0; press < 12; press += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.id) === "text") {
      break;
    }
  }
  await page.keyboard.press("Control+A");
  await page.keyboard.type("typed");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("twice");
  await page.keyboard.press("Enter");
  await eventually(async () => (await rows(page)).at(-1), ["in", "typed\ntwice"]);
});

test("questions: the server introduces itself and answers", async () => {
  const page = await open("questions");
  assert.equal(await page.textContent("#protocol"), "json");
  await page.locator("#welcome", { hasText: "protocolVersion" }).waitFor();
  const ask = async (question) => {
    await page.evaluate(() => document.getElementById("answer").replaceChildren());
    await page.selectOption("#question", question);
    await page.click("#ask button");
    await page.locator("#answer:not(:empty)").waitFor();
    return page.textContent("#answer");
  };
  assert.equal(await ask("1"), "sockeye");
  assert.match(await ask("2"), /Linux/);
  assert.match(await ask("3"), /^(0[1-9]|1[0-2]):[0-5]\d:[0-5]\d$/);
  assert.match(await ask("4"), /1.*2.*3/);
});

test("canvas: the pixels that come back are those that were sent", async () => {
  const page = await open("canvas");
  const pixels = (id) => page.evaluate((id) => {
    const canvas = document.getElementById(id);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return [...new Uint32Array(data.buffer)];
  }, id);
  const blank = await pixels("copy");
  const first = await pixels("original");
  assert.ok(new Set(first).size > 20, "a picture of many colours");
  assert.notDeepEqual(first, blank);
  await page.click("#send");
  await page.locator("#same", { hasText: "yes" }).waitFor();
  assert.deepEqual(await pixels("copy"), first);
  assert.equal(await page.textContent("#size"), "307,200 B");
  for (const id of ["#out", "#in"]) {
    assert.match(await page.textContent(id), /^1, last \d\d:\d\d:\d\d\.\d{3}$/);
  }

  await page.click("#another");
  const box = await page.locator("#original").boundingBox();
  await page.mouse.move(box.x + 20, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + 120, box.y + 90, { steps: 8 });
  await page.mouse.up();
  const second = await pixels("original");
  assert.notDeepEqual(second, first);
  await page.click("#send");
  await eventually(() => pixels("copy"), second);

  await page.check("#live");
  await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 2);
});

test("a server that is killed and started again is lost and found", async () => {
  const own = await Server.start("--listen", "127.0.0.1:0");
  const page = await browser.page(DESKTOP, LOST);
  await page.goto(url("echo", own.origin));
  await waitForState(page, "OPEN");
  await own.stop("SIGKILL");
  await waitForState(page, "CLOSED");
  assert.equal(await page.textContent("#close"), "1006 abnormal closure");
  await page.locator("#again", { hasText: /Trying again in [0-9.]+ s/ }).waitFor();
  await shot(page, "echo-lost");
  const again = await Server.start("--listen", own.address);
  await waitForState(page, "OPEN");
  await page.click("#send .main");
  await eventually(async () => (await rows(page)).at(-1), ["in", "Hello, sockeye!"]);
  // One that says goodbye is told apart, and is come back to as well.
  await again.stop("SIGTERM");
  await page.locator("#close", { hasText: "1001 going away" }).waitFor();
  const third = await Server.start("--listen", own.address);
  await waitForState(page, "OPEN");
  await third.stop();
});

test("waits grow between attempts", async () => {
  const own = await Server.start("--listen", "127.0.0.1:0");
  const page = await browser.page(DESKTOP, LOST);
  await page.addInitScript(() => {
    window.waits = [];
    const { setTimeout: original } = window;
    window.setTimeout = (call, time, ...rest) => {
      window.waits.push(time);
      return original(call, time / 20, ...rest);
    };
  });
  await page.goto(url("echo", own.origin));
  await waitForState(page, "OPEN");
  await own.stop("SIGKILL");
  await page.waitForFunction(() => window.waits.length >= 9);
  const waits = await page.evaluate(() => window.waits);
  waits.slice(0, 9).forEach((wait, at) => {
    const longest = Math.min(20_000, 400 * 2 ** at);
    assert.ok(wait >= longest / 2 && wait <= longest, `wait ${at}: ${wait}`);
  });
});

// A page that goes into the back/forward cache and comes out of it again, before the server has
// answered the Close frame. `opened` is called with each socket; the first one's close is held
// until `release`.
async function comeBack(name, opened) {
  const page = await browser.page();
  const sockets = [];
  await page.routeWebSocket("**/echo", (socket) => {
    sockets.push(socket);
    opened(socket, sockets.length);
    if (sockets.length === 1) {
      socket.onClose(() => {});
    }
  });
  await page.goto(url(name));
  await waitForState(page, "OPEN");
  return {
    page,
    async leaveAndReturn() {
      await page.evaluate(() => {
        dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
      });
      await eventually(() => sockets.length, 2);
      await waitForState(page, "OPEN");
    },
    async release() {
      await sockets[0].close({ code: 1006, reason: "late" });
      // What the socket says gets to the page in order.
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
    },
  };
}

test("echo: a late close of the socket before is not taken for the new one's", async () => {
  let echo = null;
  const { page, leaveAndReturn, release } = await comeBack("echo", (socket, number) => {
    socket.onMessage((message) => {
      if (number === 2) {
        echo = () => socket.send(message);
      }
    });
  });
  await page.click("#send .main");
  await page.waitForTimeout(300);
  await leaveAndReturn();
  await page.click("#send .main");
  await eventually(() => echo !== null, true);
  await release();
  assert.equal(await page.textContent("#state"), "OPEN");
  assert.equal(await page.textContent("#close"), "");
  assert.equal(await page.isHidden("#again"), true);
  echo();
  await page.locator("#log .in").waitFor();
  const [, trip] = (await page.textContent("#log .in .size")).match(/^15 B, (.*) ms$/);
  assert.ok(Number(trip) < 300, `a round trip of ${trip} ms`);
  // The close of the current one is shown, and is come back from.
  await page.click("#toggle");
  await waitForState(page, "CLOSED");
  assert.equal(await page.textContent("#close"), "1000 normal closure");
});

test("canvas: goes on sending after a late close of the socket before", async () => {
  let answers = [];
  const { page, leaveAndReturn, release } = await comeBack("canvas", (socket, number) => {
    socket.onMessage((message) => {
      if (number === 2) {
        answers.push(() => socket.send(message));
      }
    });
  });
  await page.check("#live");
  await page.waitForTimeout(100);
  await leaveAndReturn();
  await eventually(() => answers.length, 1);
  await release();
  for (let sent = 1; sent <= 3; sent += 1) {
    answers[sent - 1]();
    await eventually(() => answers.length, sent + 1);
  }
  assert.equal(await page.textContent("#same"), "yes");
  assert.match(await page.textContent("#trip"), /^[0-9.]+ ms$/);
});

test("a page that was disconnected comes out of the back/forward cache as it was", async () => {
  const page = await open("echo");
  await page.click("#toggle");
  await waitForState(page, "CLOSED");
  await page.evaluate(() => {
    dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
    dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
  });
  assert.equal(await page.textContent("#state"), "CLOSED");
  await page.click("#toggle");
  await waitForState(page, "OPEN");
});

// Loses its server until the next attempt is seconds away, and connects by hand then.
async function connectedByHand() {
  const page = await browser.page();
  await page.clock.install();
  let isUp = false;
  await page.routeWebSocket("**/echo", (socket) => {
    if (isUp) {
      socket.onMessage(() => socket.close({ code: 1000, reason: "bye" }));
    } else {
      socket.close({ code: 1012 });
    }
  });
  await page.goto(url("echo"));
  for (let attempt = 0; attempt < 6; attempt += 1) {
    await page.locator("#again", { hasText: "Trying again in" }).waitFor();
    await page.clock.fastForward(20_000);
  }
  await page.locator("#again", { hasText: /Trying again in \d{2}\./ }).waitFor();
  isUp = true;
  await page.click("#toggle");
  await waitForState(page, "OPEN");
  assert.equal(await page.isHidden("#again"), true);
  return page;
}

for (const [who, selector] of [["the visitor", "#toggle"], ["the server", "#goodbye"]]) {
  test(`nothing is counted down to after ${who} has ended it`, async () => {
    const page = await connectedByHand();
    await page.click(selector);
    await waitForState(page, "CLOSED");
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(resolve)));
    assert.equal(await page.textContent("#again"), "");
    assert.equal(await page.textContent("#toggle"), "Connect");
  });
}

test("a browser without WebSocket is told so", async () => {
  for (const name of PAGES) {
    const page = await browser.page(PHONE);
    await page.addInitScript(() => delete window.WebSocket);
    await page.goto(url(name));
    await page.locator("#no-websocket").waitFor({ state: "visible" });
    assert.equal(await page.textContent("#state"), "CLOSED");
    if (name === "echo") {
      await shot(page, "echo-without-websocket");
    }
  }
});

test("a page from https: speaks wss:", async () => {
  const page = await browser.page({ ...DESKTOP, ignoreHTTPSErrors: true });
  await page.route("https://sockeye.test/**", async (route) => {
    const { pathname } = new URL(route.request().url());
    const response = await fetch(server.origin + pathname);
    await route.fulfill({
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: Buffer.from(await response.arrayBuffer()),
    });
  });
  await page.routeWebSocket("wss://sockeye.test/echo", (socket) => {
    socket.onMessage((message) => socket.send(message));
  });
  await page.goto("https://sockeye.test/echo.html");
  await waitForState(page, "OPEN");
  assert.equal(await page.textContent("#url"), "wss://sockeye.test/echo");
  await page.click("#send .main");
  await eventually(async () => (await rows(page)).at(-1), ["in", "Hello, sockeye!"]);
});

// Two tabs in one room, the first of which can lose its connection.
async function room() {
  const own = await Server.start("--listen", "127.0.0.1:0");
  const proxy = await Proxy.start(own.port);
  const tabs = [];
  for (const origin of [proxy.origin, own.origin]) {
    const tab = await browser.page(DESKTOP, LOST);
    await tab.goto(url("chat", origin));
    await waitForState(tab, "OPEN");
    tabs.push(tab);
  }
  return { own, proxy, tabs };
}

async function say(tab, text) {
  await tab.fill("#text", text);
  await tab.keyboard.press("Enter");
}

async function said(tab) {
  return (await rows(tab)).map(([, text]) => text);
}

test("chat: two tabs see one order, and what one missed when it comes back", async () => {
  const { own, proxy, tabs } = await room();
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(tabs.map((tab, at) => say(tab, `${at}: ${round}`)));
  }
  for (const tab of tabs) {
    await eventually(async () => (await said(tab)).length, 10);
  }
  assert.deepEqual(await said(tabs[1]), await said(tabs[0]), "one order");
  const odd = "</script> \u2028 🐟 \"\\ &lt;";
  await say(tabs[1], odd);
  await eventually(async () => (await said(tabs[0])).at(-1), odd);

  proxy.pause();
  proxy.cut();
  await waitForState(tabs[0], "CLOSED");
  await say(tabs[1], "while you were away");
  await eventually(async () => (await said(tabs[1])).at(-1), "while you were away");
  proxy.resume();
  await waitForState(tabs[0], "OPEN");
  await eventually(async () => (await said(tabs[0])).at(-1), "while you were away");
  assert.equal(await tabs[0].textContent("#resumed"), "resumed, 1 missed");
  await say(tabs[0], "back again");
  for (const tab of tabs) {
    await eventually(async () => (await said(tab)).length, 13);
  }
  assert.deepEqual(await said(tabs[0]), await said(tabs[1]), "nothing lost, nothing twice");
  const times = () => tabs[0].locator("#log li .when, #log li time").allTextContents();
  assert.equal((await times()).indexOf("earlier"), 11, "what it missed has no time");
  await shot(tabs[0], "chat-resumed");
  proxy.stop();
  await browser.check();
  await own.stop();
});

test("chat: what can no longer be sent after a loss is told, with nothing twice", async () => {
  const { own, proxy, tabs } = await room();
  await say(tabs[0], "seen by both");
  await eventually(() => said(tabs[0]), ["seen by both"]);
  proxy.pause();
  proxy.cut();
  await waitForState(tabs[0], "CLOSED");
  // The room remembers 100.
  await tabs[1].evaluate(() => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}/chat`);
    let count = 0;
    socket.onopen = () => {
      for (let number = 1; number <= 103; number += 1) {
        socket.send(`while you were away: ${number}`);
      }
    };
    socket.onmessage = ({ data }) => {
      count += JSON.parse(data).messages.length;
      if (count === 104) {
        socket.close();
        resolve();
      }
    };
  }));
  proxy.resume();
  await waitForState(tabs[0], "OPEN");
  const expected = ["seen by both", "messages missing here: 3",
    ...Array.from({ length: 100 }, (_, at) => `while you were away: ${at + 4}`)];
  await eventually(() => said(tabs[0]), expected);
  assert.deepEqual((await rows(tabs[0])).map(([kind]) => kind).slice(0, 3), ["in", "divider", "in"]);
  assert.equal(await tabs[0].textContent("#resumed"), "rejoined");
  await say(tabs[0], "back again");
  await eventually(() => said(tabs[0]), [...expected, "back again"]);
  const height = await tabs[0].evaluate(() => document.documentElement.scrollHeight);
  assert.ok(height < 1_200, `rows scroll in their list and leave the page as high as it is: ${height}`);
  await tabs[0].locator("#log .divider").scrollIntoViewIfNeeded();
  await shot(tabs[0], "chat-missing");
  proxy.stop();
  await browser.check();
  await own.stop();
});

test("chat: what the server says of too long a message is shown", async () => {
  const page = await browser.page();
  let sockets = 0;
  await page.routeWebSocket("**/chat*", (socket) => {
    sockets += 1;
    socket.send(JSON.stringify({ messages: sockets === 1 ? ["hello"] : [], epoch: "a", offset: 1, recovered: sockets > 1 }));
    socket.onMessage(() => socket.close({ code: 1009, reason: "a message of this room has at most 16384 bytes" }));
  });
  await page.goto(url("chat"));
  await waitForState(page, "OPEN");
  await say(page, "long");
  await page.locator("#close", { hasText: "1009 message too big" }).waitFor();
  assert.equal(await page.textContent("#reason"), "a message of this room has at most 16384 bytes");
  // It comes back; the close stays to be read.
  await eventually(() => sockets, 2);
  await waitForState(page, "OPEN");
  assert.equal(await page.textContent("#close"), "1009 message too big");
  assert.deepEqual(await said(page), ["hello"]);
  await shot(page, "chat-too-long");
});

test("chat: all of a message is shown that the page lets one say", async () => {
  const { own, proxy, tabs } = await room();
  await tabs[0].fill("#name", "n".repeat(24));
  await say(tabs[0], `${"long ".repeat(399)}12345`);
  for (const tab of tabs) {
    await eventually(() => said(tab), [`${"n".repeat(24)}: ${"long ".repeat(399)}12345`]);
  }
  proxy.stop();
  await browser.check();
  await own.stop();
});

test("chat: after a restart of the server the room begins anew", async () => {
  const { own, proxy, tabs } = await room();
  await say(tabs[0], "before the restart");
  await eventually(() => said(tabs[1]), ["before the restart"]);
  await own.stop();
  for (const tab of tabs) {
    await waitForState(tab, "CLOSED");
  }
  assert.match(await tabs[1].textContent("#close"), /^1001 /);
  const again = await Server.start("--listen", own.address);
  const before = ["before the restart", "the room began anew: messages may be missing"];
  for (const tab of tabs) {
    await waitForState(tab, "OPEN");
    await eventually(() => said(tab), before);
    assert.equal(await tab.textContent("#resumed"), "rejoined");
  }
  // Of a second restart before anybody has said anything there is nothing new to tell.
  await again.stop();
  for (const tab of tabs) {
    await waitForState(tab, "CLOSED");
  }
  const third = await Server.start("--listen", own.address);
  for (const tab of tabs) {
    await waitForState(tab, "OPEN");
  }
  await say(tabs[1], "after the restart");
  for (const tab of tabs) {
    await eventually(() => said(tab), [...before, "after the restart"]);
  }
  await shot(tabs[1], "chat-restarted");
  proxy.stop();
  await browser.check();
  await third.stop();
});

test("ticker: prices come, change and are drawn", async () => {
  const page = await open("ticker");
  await page.waitForFunction(() => Number(document.getElementById("updates").textContent) > 2);
  const lines = page.locator("#prices tbody polyline");
  assert.ok(await lines.count() > 0, "symbols");
  const points = (await lines.first().getAttribute("points")).split(" ");
  assert.ok(points.length > 2, "a line through the prices");
  assert.match(await page.locator("#prices tbody td").nth(1).textContent(), /^\d+\.\d\d$/);
});
