// Fetches, once, what takes its time: the content of elements with data-late="ADDRESS".

for (const element of document.querySelectorAll("[data-late]")) {
  fetch(element.dataset.late, {headers: {"X-Part": "1"}, credentials: "same-origin"})
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(answer.status)))
    .then((html) => { element.innerHTML = html; })
    .catch(() => { element.textContent = "That did not work: load the page again."; })
    .finally(() => element.removeAttribute("aria-busy"));
}
