// Shows what a chart holds at the time that is pointed at, with the mouse, a finger or the arrow keys.

const at = new Map(); // Id of a chart to the index that is shown.

function show(chart, index) {
  const lines = [...chart.querySelectorAll("[data-values]")];
  const rows = lines.map((line) => [line.dataset.name, line.dataset.values.split(",")]);
  const count = rows.length ? rows[0][1].length : 0;
  const pointed = chart.querySelector(".pointed"), cursor = chart.querySelector(".cursor");
  if (!count || index === null) {
    at.delete(chart.id);
    pointed.textContent = "";
    cursor.setAttribute("d", "");
    return;
  }
  index = Math.max(0, Math.min(count - 1, index));
  at.set(chart.id, index);
  const time = new Date(1000 * (Number(chart.dataset.begin) + index * Number(chart.dataset.step)));
  const found = rows.filter(([, values]) => values[index] !== "" && (rows.length === 1 || values[index] !== "0"));
  const text = found.map(([name, values]) => (rows.length > 1 ? name + " " : "") + values[index]).join(", ");
  pointed.textContent = time.toISOString().slice(11, 19) + "  " + (text || "–");
  const x = (600 * index) / Math.max(1, count - 1);
  cursor.setAttribute("d", `M${x} 0V120`);
}

function index(chart, event) {
  const box = chart.querySelector("svg").getBoundingClientRect();
  const values = chart.querySelector("[data-values]");
  const count = values ? values.dataset.values.split(",").length : 0;
  return Math.round(((event.clientX - box.left) / box.width) * (count - 1));
}

const chartOf = (event) => event.target.closest && event.target.closest(".chart svg") && event.target.closest(".chart");

document.addEventListener("pointermove", (event) => {
  const chart = chartOf(event);
  for (const id of [...at.keys()]) if (!chart || chart.id !== id) {
    const other = document.getElementById(id);
    if (other && !other.contains(document.activeElement)) show(other, null);
  }
  if (chart) show(chart, index(chart, event));
});
document.addEventListener("keydown", (event) => {
  const chart = chartOf(event);
  const steps = {ArrowLeft: -1, ArrowRight: 1, Home: -1e6, End: 1e6};
  if (!chart || !(event.key in steps)) return;
  event.preventDefault();
  const known = at.has(chart.id) ? at.get(chart.id) : 1e6;
  show(chart, Math.max(0, known + steps[event.key]));
});
document.addEventListener("focusout", (event) => { const chart = chartOf(event); if (chart) show(chart, null); });
document.addEventListener("live", () => {
  for (const [id, known] of at) { const chart = document.getElementById(id); if (chart) show(chart, known); }
});
