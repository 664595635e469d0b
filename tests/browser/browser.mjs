// A headless Chromium whose pages are watched: whatever goes wrong in them is an error of the
// test, unless it said before that it would.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";

import { chromium } from "playwright-core";

const OUTPUT = process.env.SOCKEYE_BROWSER_OUTPUT ?? "target/browser";

const ARGUMENTS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const DESKTOP = { viewport: { width: 1100, height: 800 }, colorScheme: "light" };
export const DESKTOP_DARK = { ...DESKTOP, colorScheme: "dark" };
export const PHONE = {
  viewport: { width: 390, height: 844 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
  colorScheme: "light",
};
export const PHONE_DARK = { ...PHONE, colorScheme: "dark" };

export class Browser {
  #browser;
  #contexts = [];
  #faults = [];

  static async launch() {
    const browser = new Browser();
    browser.#browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      headless: true,
      args: ARGUMENTS,
    });
    mkdirSync(OUTPUT, { recursive: true });
    return browser;
  }

  // A page of a fresh profile; `expected`: what its console may say.
  async page(options = DESKTOP, expected = null) {
    const context = await this.#browser.newContext(options);
    this.#contexts.push(context);
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    const blame = (text) => expected?.test(text) || this.#faults.push(text);
    page.on("pageerror", (error) => blame(`${error}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) {
        blame(message.text());
      }
    });
    await page.exposeFunction("violated", (text) => this.#faults.push(text));
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        window.violated(`policy: ${event.violatedDirective} ${event.blockedURI}`);
      });
    });
    return page;
  }

  // Ends all pages and checks what was seen of them.
  async check() {
    await Promise.all(this.#contexts.splice(0).map((context) => context.close()));
    assert.deepEqual(this.#faults.splice(0), []);
  }

  async close() {
    await this.#browser.close();
  }
}

export function shot(page, name) {
  return page.screenshot({ path: path.join(OUTPUT, `${name}.png`), fullPage: true });
}

export async function waitForState(page, state) {
  await page.locator(`#connection[data-state="${state}"]`).waitFor();
}

// Waits until `probe` gives what is expected.
export async function eventually(probe, expected, message) {
  const end = Date.now() + 10_000;
  let got = await probe();
  while (JSON.stringify(got) !== JSON.stringify(expected) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    got = await probe();
  }
  assert.deepEqual(got, expected, message);
}

// What a log shows, without times: [kind, text] of every row.
export function rows(page) {
  return page.locator("#log li").evaluateAll((items) =>
    items.map((item) => [item.className, item.querySelector(".text").lastChild.textContent]));
}
