// A click on a word of a transcript plays from there; the word that is being said is marked.

const player = document.getElementById("player");
const words = () => document.querySelectorAll("#transcript .word");

document.addEventListener("click", (event) => {
  const word = event.target.closest(".word");
  if (!word || !player) return;
  player.currentTime = Number(word.dataset.start);
  player.play().catch(() => {});
});

function mark() {
  const at = player.currentTime;
  for (const word of words()) {
    const said = Number(word.dataset.start) <= at && at < Number(word.dataset.end);
    if (said) word.setAttribute("aria-current", "true");
    else word.removeAttribute("aria-current");
  }
}

if (player) {
  for (const kind of ["timeupdate", "seeked", "play"]) player.addEventListener(kind, mark);
  document.addEventListener("live", mark);
}
