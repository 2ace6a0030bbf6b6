
// This script refreshes the page, filters while the user types, and pauses. The page works without it.
const interval = 1500; // shows a change within two seconds
const main = document.getElementById("main");
const problem = document.getElementById("problem");
const pause = document.getElementById("pause");
let etag = "", paused = false, request = null, timer = 0, typing = 0;

// same reports whether a node of the current page corresponds to a node of the new page.
const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || "" : "");
const same = (a, b) => a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

// morph changes only the differences between a node and its new version. So the page keeps its focus, selection, scroll positions, input
// texts and open details.
function morph(from, to) {
  if (from.nodeType !== 1) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  if ("keep" in from.dataset) return;
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !(name === "open" && from.nodeName === "DETAILS")) from.setAttribute(name, value);
  }
  if (from.nodeName === "SELECT") return;
  const old = new Map(); // children with a key that do not correspond to a new node yet
  for (const child of from.childNodes) {
    if (!keyOf(child)) continue;
    const key = child.nodeName + keyOf(child);
    if (!old.has(key)) old.set(key, []);
    old.get(key).push(child);
  }
  let at = from.firstChild;
  for (const child of [...to.childNodes]) {
    const known = keyOf(child) ? old.get(child.nodeName + keyOf(child))?.shift() : at && same(at, child) ? at : null;
    if (known) {
      if (known === at) at = at.nextSibling;
      else from.insertBefore(known, at);
      morph(known, child);
    } else {
      from.insertBefore(document.importNode(child, true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const focused = document.activeElement;
  if (document.title !== fresh.title) document.title = fresh.title;
  morph(document.body, fresh.body);
  // Moving a row removes its focus.
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function complain(text) {
  if (problem.textContent !== text) problem.textContent = text;
  problem.hidden = text === "";
}

async function refresh() {
  clearTimeout(timer);
  request?.abort();
  const mine = (request = new AbortController());
  try {
    const headers = { Accept: "text/html" };
    if (etag) headers["If-None-Match"] = etag;
    const response = await fetch(location.href, { headers, cache: "no-store", signal: mine.signal });
    const isPage = (response.headers.get("Content-Type") ?? "").startsWith("text/html");
    if (response.status === 304) {
      const time = document.getElementById("time"), now = new Date(response.headers.get("Date") ?? NaN);
      if (time && !isNaN(now)) {
        time.dateTime = now.toISOString();
        time.textContent = now.toISOString().replace("T", " ").slice(0, 19) + " UTC";
      }
      complain("");
    } else if (isPage) {
      const text = await response.text();
      etag = response.headers.get("ETag") ?? "";
      show(text);
      complain("");
    } else {
      etag = "";
      const reason = response.status < 500 && (response.headers.get("Content-Type") ?? "").startsWith("text/plain") ? await response.text() : "";
      complain(`This page is not up to date: the agent returned ${response.status} ${response.statusText}${reason && ": " + reason.trim().slice(0, 300)}.`);
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    complain("This page is not up to date: the agent does not respond.");
  }
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(refresh, interval);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) schedule();
  else if (!paused) refresh();
});

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  if (paused) request?.abort();
  if (paused) schedule();
  else refresh();
});

// The filter is part of the address, so that a reload or a link shows the same rows.
function search(form) {
  const parameters = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
  history.replaceState(null, "", "?" + parameters);
  etag = "";
  refresh();
}

main.addEventListener("input", (event) => {
  const form = event.target.closest("form.filter");
  if (!form) return;
  clearTimeout(typing);
  // A new column starts with its own default order, which shows the worst first.
  if (event.target.name === "sort") form.elements.namedItem("order")?.remove();
  typing = setTimeout(() => search(form), event.target.nodeName === "SELECT" ? 0 : 150);
});

main.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  search(event.target);
});

schedule();
