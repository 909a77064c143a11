// The policy's editor: numbers beside the lines, and what is wrong with them while they are being written.

const text = document.getElementById("policy-text");
const gutter = document.getElementById("gutter");
const check = document.getElementById("check");
const csrf = document.querySelector("meta[name=csrf]").content;
const PAUSE = 300; // Milliseconds without a key before the text is checked.
let timer, asked = 0, bad = new Set();

function number() {
  const count = text.value.split("\n").length;
  while (gutter.children.length > count) gutter.lastChild.remove();
  while (gutter.children.length < count) {
    const line = document.createElement("span");
    line.textContent = gutter.children.length + 1;
    gutter.append(line);
  }
  for (let index = 0; index < count; index++) gutter.children[index].classList.toggle("bad", bad.has(index + 1));
}

function mark() {
  bad = new Set([...check.querySelectorAll("[data-line]")].map((item) => Number(item.dataset.line)));
  text.setAttribute("aria-invalid", bad.size ? "true" : "false");
  number();
}

async function validate() {
  const mine = ++asked;
  const body = new URLSearchParams({text: text.value});
  try {
    const answer = await fetch("/policy/check", {
      method: "POST", body, headers: {"X-CSRF-Token": csrf, "X-Part": "1"}, credentials: "same-origin",
    });
    if (mine !== asked) return;
    if (answer.status === 401) { check.textContent = "Signed out: sign in again in another tab, then go on here."; return; }
    if (!answer.ok) throw new Error(String(answer.status));
    check.innerHTML = await answer.text();
    mark();
  } catch {
    if (mine === asked) check.textContent = "The text was not checked: the console does not answer.";
  }
}

text.addEventListener("input", () => {
  number();
  clearTimeout(timer);
  timer = setTimeout(validate, PAUSE);
});
text.addEventListener("scroll", () => { gutter.scrollTop = text.scrollTop; });
check.addEventListener("click", (event) => {
  const line = Number(event.target.dataset.goto);
  if (!line) return;
  const lines = text.value.split("\n");
  const begin = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  text.focus();
  text.setSelectionRange(begin, begin + (lines[line - 1] || "").length);
  text.scrollTop = Math.max(0, (line - 5) * parseFloat(getComputedStyle(text).lineHeight));
});
mark();
