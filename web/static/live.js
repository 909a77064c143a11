// Keeps what a page shows up to date: elements with data-live="ADDRESS" get their content anew from there, every
// data-every seconds, and at once when something happens that data-on names ("call.", "breaker." …, beginnings of
// the kinds of events). What is the same stays as it is, so focus, selection, open details and players survive.

import {morph} from "./morph.js";

const state = document.getElementById("live-state");
const LEAST = 250; // Milliseconds between two fetches of one element.
const TIMEOUT = 8000;
const parts = new Map();
let broken = false, cut = false, hidden = document.hidden, source = null;

function say(kind, text) {
  if (!state || state.dataset.state === kind) return;
  state.dataset.state = kind;
  state.textContent = text;
}

function told() {
  if (broken || cut) say("lost", "reconnecting…");
  else if (hidden) say("off", "paused");
  else if (parts.size) say("on", "live");
  else say("none", "");
}

class Part {
  constructor(element) {
    this.element = element;
    this.every = 1000 * (Number(element.dataset.every) || 5);
    this.on = (element.dataset.on || "").split(" ").filter(Boolean);
    this.busy = this.again = false;
    this.pause = LEAST;
    this.last = performance.now();
    this.plan(this.every);
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (!hidden) this.timer = setTimeout(() => this.fetch(), delay);
  }

  wanted() {
    if (this.busy) { this.again = true; return; }
    this.plan(Math.max(0, this.pause - (performance.now() - this.last)));
  }

  async fetch() {
    if (this.busy || !this.element.isConnected) return;
    this.busy = true;
    this.last = performance.now();
    const begun = this.last;
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
      // A part that takes long to make is not asked for all the time.
      this.pause = Math.max(LEAST, 4 * (performance.now() - begun));
      this.plan(this.again ? this.pause : this.every);
      this.again = false;
    }
  }
}

// One connection for all parts, only while the page is seen: a browser has few of them for a site.
function listen() {
  const kinds = new Set([...parts.values()].flatMap((part) => part.on));
  if (hidden || !kinds.size) { if (source) source.close(); source = null; cut = false; return; }
  if (source) return;
  source = new EventSource("/events?" + new URLSearchParams([...kinds].map((kind) => ["kind", kind])));
  source.onopen = () => { cut = false; told(); for (const part of parts.values()) if (part.on.length) part.wanted(); };
  source.onerror = () => {
    cut = true;
    told();
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 2000); }
  };
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.kind) {
      happened(event.kind);
      document.dispatchEvent(new CustomEvent("happened", {detail: event}));
    } else if (event.type === "lost") for (const part of parts.values()) part.wanted();
  };
}

export function begin() {
  for (const element of document.querySelectorAll("[data-live]"))
    if (!parts.has(element)) parts.set(element, new Part(element));
  listen();
  told();
}

export function happened(kind) {
  for (const part of parts.values())
    if (part.on.some((beginning) => kind.startsWith(beginning))) part.wanted();
}

document.addEventListener("visibilitychange", () => {
  hidden = document.hidden;
  listen();
  for (const part of parts.values()) hidden ? clearTimeout(part.timer) : part.wanted();
  told();
});

begin();
// On a narrow screen the menu is wider than there is room. Not by scrollIntoView, after which the Tab key would begin
// there and pass over what comes before.
const here = document.querySelector(".menu [aria-current]");
if (here) {
  const menu = here.closest(".menu"), room = menu.getBoundingClientRect(), place = here.getBoundingClientRect();
  const edge = 8; // The menu's padding.
  menu.scrollLeft += Math.max(0, place.right - room.right + edge) - Math.max(0, room.left - place.left + edge);
}
