// Keeps what a page shows up to date: elements with data-live="ADDRESS" get their content anew from there, every
// data-every seconds, and at once when something happens that data-on names ("call.", "breaker." …, beginnings of
// the kinds of events). What is the same stays as it is, so focus, selection, open details and players survive.

import {morph} from "./morph.js";

const state = document.getElementById("live-state");
const LEAST = 250; // Milliseconds between two fetches of one element.
const TIMEOUT = 8000;
const parts = new Map();
let broken = false, hidden = false;

function say(kind, text) {
  if (!state || state.dataset.state === kind) return;
  state.dataset.state = kind;
  state.textContent = text;
}

function told() {
  if (broken) say("lost", "reconnecting…");
  else if (hidden) say("off", "paused");
  else if (parts.size) say("on", "live");
}

class Part {
  constructor(element) {
    this.element = element;
    this.every = 1000 * (Number(element.dataset.every) || 5);
    this.on = (element.dataset.on || "").split(" ").filter(Boolean);
    this.busy = this.again = false;
    this.last = performance.now();
    this.plan(this.every);
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (!hidden) this.timer = setTimeout(() => this.fetch(), delay);
  }

  wanted() {
    if (this.busy) { this.again = true; return; }
    this.plan(Math.max(0, LEAST - (performance.now() - this.last)));
  }

  async fetch() {
    if (this.busy || !this.element.isConnected) return;
    this.busy = true;
    this.last = performance.now();
    try {
      const answer = await fetch(this.element.dataset.live, {
        headers: {"X-Part": "1"}, credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT),
      });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      morph(this.element, await answer.text());
      this.element.dispatchEvent(new CustomEvent("live", {bubbles: true}));
      broken = false;
    } catch {
      broken = true;
    } finally {
      this.busy = false;
      told();
      this.plan(this.again ? LEAST : this.every);
      this.again = false;
    }
  }
}

export function begin() {
  for (const element of document.querySelectorAll("[data-live]"))
    if (!parts.has(element)) parts.set(element, new Part(element));
  told();
}

export function happened(kind) {
  for (const part of parts.values())
    if (part.on.some((beginning) => kind.startsWith(beginning))) part.wanted();
}

document.addEventListener("visibilitychange", () => {
  hidden = document.hidden;
  for (const part of parts.values()) hidden ? clearTimeout(part.timer) : part.wanted();
  told();
});

begin();
