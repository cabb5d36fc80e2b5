// Refreshes the view: fetches the same URL every few seconds, and replaces what has changed. Without this script, the
// Refresh link does the same. Nothing is stored, and nothing is sent but these requests.
"use strict";

const INTERVAL = 5000;
// Longer waits while the receiver does not answer.
const LONGEST = 60000;
// An answer that takes longer is given up.
const TIMEOUT = 10000;
// A view that was not refreshed for this long is cleared. A session that is not used ends after the same time.
const KEPT = 3600000;

const main = document.getElementById("main");
const element = (id) => document.getElementById(id);
let timer = 0;
let keeping = 0;
let failures = 0;
let isPaused = false;
let hasEnded = false;
let running = null;
let isPressed = false;

// Texts for screen readers.
function say(text) {
  element("say").textContent = "";
  element("say").textContent = text;
}

// Sets a text only if it changes, so that a screen reader reads it once.
function set(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}

function trouble(text) {
  set("trouble", text);
}

// Why the view must not change now; empty if it may.
function reason() {
  if (isPaused) return "paused";
  const focused = document.activeElement;
  if (main.contains(focused) && focused.matches("input, select")) return "paused while you fill in the filter";
  const selection = getSelection();
  const isSelecting = selection && !selection.isCollapsed && main.contains(selection.anchorNode);
  if (isSelecting || isPressed) return "paused while text is selected";
  return "";
}

function describe() {
  set("refresh-state", hasEnded ? "" : reason() || "every 5 s");
}

// Makes `old` equal to `wanted` by changing as little as possible, so that the focus, a selection, open details and
// scroll positions stay. Elements with `data-key` or `id` are recognized by it wherever they are among their siblings.
function update(old, wanted) {
  if (old.nodeType !== wanted.nodeType || old.nodeName !== wanted.nodeName || key(old) !== key(wanted)) {
    old.replaceWith(document.importNode(wanted, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== wanted.data) old.data = wanted.data;
    return;
  }
  // A choice in the filter that was not yet sent stays, and so does the text of a button that says "Copied".
  if (old.matches("form.filter")) return;
  attributes(old, wanted);
  if (!old.matches("button.copy")) children(old, wanted);
}

function key(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") || node.id || null : null;
}

function attributes(old, wanted) {
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the choice of the operator.
    const isOpen = name === "open" && old.nodeName === "DETAILS";
    if (!wanted.hasAttribute(name) && !isOpen) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
}

function children(old, wanted) {
  const keyed = new Map();
  for (const child of old.children) if (key(child) !== null) keyed.set(key(child), child);
  const kept = new Set([...wanted.children].map(key));
  let at = old.firstChild;
  for (const child of wanted.childNodes) {
    // Rows that are gone, so that those below them are not taken for changed ones.
    while (at && key(at) !== null && !kept.has(key(at))) at = removed(at);
    const same = key(child) === null ? null : keyed.get(key(child));
    if (same && same !== at) {
      old.insertBefore(same, at);
      update(same, child);
    } else if (!at || (key(child) !== null && !same) || (key(child) === null && key(at) !== null)) {
      old.insertBefore(document.importNode(child, true), at);
    } else {
      const next = at.nextSibling;
      update(at, child);
      at = next;
    }
  }
  while (at) at = removed(at);
}

function removed(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// Shows the fetched document.
function show(fetched) {
  const wanted = fetched.getElementById("main");
  if (!wanted) throw new Error("not a view");
  const hadFocus = main.contains(document.activeElement);
  const before = status(main);
  children(main, wanted);
  // The element with the focus is gone.
  if (hadFocus && document.activeElement === document.body) main.focus({ preventScroll: true });
  // Times and numbers change all the time; only another state is read aloud.
  if (status(main) !== before) say(element("status") ? element("status").textContent : "");
  update(element("as-of"), fetched.getElementById("as-of"));
  document.title = fetched.title;
  const icon = 'link[rel="icon"]';
  attributes(document.querySelector(icon), fetched.querySelector(icon));
}

// The state that the view reports, without the numbers in its sentence.
function status(view) {
  return view.querySelector("section.status")?.dataset.status;
}

// Removes what the view shows, so that a screen without a session shows nothing of the receiver. The texts come from
// this script, so they cannot contain markup.
function clear(text, href, label) {
  hasEnded = true;
  stop();
  clearTimeout(keeping);
  describe();
  const hadFocus = main.contains(document.activeElement);
  main.replaceChildren();
  element("as-of").replaceChildren();
  document.title = "medhook";
  if (hadFocus) main.focus({ preventScroll: true });
  trouble(text);
  const link = document.createElement("a");
  link.href = href;
  link.textContent = label;
  element("trouble").append(" ", link);
}

function here() {
  return location.pathname + location.search;
}

function end() {
  clear("The session has ended, so this view was cleared.", "/login?next=" + encodeURIComponent(here()), "Log in");
}

// Clears the view unless it is refreshed in time: also while it is paused or hidden, or the receiver does not answer.
function keep() {
  clearTimeout(keeping);
  keeping = setTimeout(() => clear("This view was not refreshed for an hour, so it was cleared.", here(), "Show it again"), KEPT);
}

async function refresh() {
  clearTimeout(timer);
  describe();
  if (reason()) return schedule();
  running?.abort();
  const mine = new AbortController();
  running = mine;
  const timeout = setTimeout(() => mine.abort(), TIMEOUT);
  try {
    const answer = await fetch(location.href, { redirect: "manual", cache: "no-store", signal: mine.signal });
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
      end();
      return;
    }
    const text = await answer.text();
    if (running !== mine || reason()) return;
    show(new DOMParser().parseFromString(text, "text/html"));
    failures = 0;
    trouble("");
    keep();
  } catch {
    if (running !== mine) return;
    failures += 1;
    const wait = Math.round(delay() / 1000);
    trouble(`The receiver does not answer. What you see is old; the next try is in ${wait} s.`);
  } finally {
    clearTimeout(timeout);
    if (running === mine) {
      running = null;
      schedule();
    }
  }
}

function schedule() {
  clearTimeout(timer);
  if (isPaused || hasEnded || document.hidden) return;
  timer = setTimeout(refresh, delay());
}

function delay() {
  return Math.min(INTERVAL * 2 ** Math.min(failures, 8), LONGEST);
}

// A view that was hidden or paused is old, so it is refreshed at once.
function resume() {
  if (!isPaused && !hasEnded && !document.hidden) refresh();
}

function stop() {
  clearTimeout(timer);
  running?.abort();
  running = null;
}

function pause() {
  if (hasEnded) return;
  isPaused = !isPaused;
  // A switch: its name stays, and its state is in `aria-pressed` and beside it.
  element("pause").setAttribute("aria-pressed", String(isPaused));
  describe();
  if (isPaused) stop();
  else resume();
}

async function copy(button) {
  const text = button.parentElement.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    say("Copied");
  } catch {
    // Without TLS, browsers allow the clipboard on loopback only. The selected text can be copied by hand.
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "Selected";
    say("Selected; copy it with the keyboard");
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

document.documentElement.classList.add("scripted");
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
if (main.hasAttribute("data-refresh")) {
  element("pause").addEventListener("click", pause);
  // A selection begins with a pressed button, before any text is selected.
  main.addEventListener("pointerdown", () => (isPressed = true));
  for (const name of ["pointerup", "pointercancel", "dragend", "blur"]) addEventListener(name, () => (isPressed = false));
  for (const name of ["selectionchange", "focusin", "focusout"]) document.addEventListener(name, describe);
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : resume()));
  describe();
  keep();
  schedule();
}
