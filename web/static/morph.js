// Makes an element's content that of some HTML, and touches only what differs. Children are matched by id or data-key,
// others by their place. What the reader did to the page stays: open details, what is typed, what plays.

const KEPT = {DETAILS: ["open"], INPUT: ["value", "checked"], AUDIO: ["src"]};

export function morph(element, html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  children(element, made.content);
}

const key = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
const blank = (node) => node.nodeType === 3 && !node.data.trim();
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

function children(old, fresh) {
  const keyed = new Map();
  for (const child of old.childNodes) if (key(child)) keyed.set(key(child), child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    // Blanks between elements come and go with how a template is included.
    while (at && blank(at) && !blank(wanted)) { const next = at.nextSibling; at.remove(); at = next; }
    const known = key(wanted) && keyed.get(key(wanted));
    if (known && known !== at && alike(known, wanted)) old.insertBefore(known, at);
    const found = known && alike(known, wanted) ? known : at && alike(at, wanted) ? at : null;
    if (found) {
      if (found === at) at = at.nextSibling;
      node(found, wanted);
    } else old.insertBefore(wanted, at);
  }
  while (at) { const next = at.nextSibling; at.remove(); at = next; }
}

function node(old, fresh) {
  if (old.nodeType !== 1) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  if (old.isEqualNode(fresh)) return;
  const kept = KEPT[old.nodeName] || [];
  for (const {name, value} of fresh.attributes)
    if (!kept.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  for (const {name} of [...old.attributes])
    if (!kept.includes(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  if (!old.hasAttribute("data-keep")) children(old, fresh);
}
