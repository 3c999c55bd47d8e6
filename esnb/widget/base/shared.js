// What all pieces share: elements whose text is text, questions to Python, keys, states.
// No string of an event ever becomes markup; a test reads every file of this folder for ways to.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.setAttribute("class", value);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** An HTML element; attributes that begin with "on" are functions, children may be text. */
export const h = (tag, attributes, ...children) =>
  filled(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** Take everything out of a node and put children in. */
export function fill(node, ...children) {
  node.replaceChildren();
  return filled(node, null, children);
}

/** Put the style of all pieces into the page, once for each version. */
export function style(version) {
  const id = `esnb-style-${version}`;
  if (document.getElementById(id)) return;
  document.head.append(h("style", { id }, css));
}

// --- text -----------------------------------------------------------------------------------

// Control characters, line breaks and what changes the direction of text are spelled out.
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A value as one line of harmless text, cut to a length. */
export function visible(value, limit = 0) {
  if (value === null || value === undefined) return "—";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (limit && text.length > limit) text = `${text.slice(0, limit - 1)}…`;
  return text.replace(HIDDEN, (sign) =>
    `U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`);
}

/** A number with thousands separated. */
export const number = (value) => Number(value).toLocaleString("en-US");

const formats = new Map();
function formatted(zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-CA", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    }));
  }
  return formats.get(zone);
}

/** Microseconds since 1970 as text in a zone, as fine as asked for: "day", "minute", "second", "micro". */
export function instant(micros, zone = "UTC", fine = "second") {
  if (micros === null || micros === undefined) return "—";
  const parts = {};
  for (const { type, value } of formatted(zone).formatToParts(new Date(Math.floor(micros / 1000)))) {
    parts[type] = value;
  }
  const day = `${parts.year}-${parts.month}-${parts.day}`;
  if (fine === "day") return day;
  const minute = `${day} ${parts.hour}:${parts.minute}`;
  if (fine === "minute") return minute;
  const second = `${minute}:${parts.second}`;
  if (fine === "second") return second;
  const rest = ((micros % 1e6) + 1e6) % 1e6;
  return rest ? `${second}.${String(rest).padStart(6, "0")}` : second;
}

const UNITS = [["d", 86400e6], ["h", 3600e6], ["min", 60e6], ["s", 1e6], ["ms", 1e3]];

/** A span of microseconds in one or two units: "3 d 4 h". */
export function span(micros) {
  if (micros === null || micros === undefined) return "—";
  let rest = Math.abs(micros);
  const words = [];
  for (const [unit, size] of UNITS) {
    if (rest >= size && words.length < 2) {
      words.push(`${Math.floor(rest / size)} ${unit}`);
      rest %= size;
    } else if (words.length) break;
  }
  return (micros < 0 ? "−" : "") + (words.join(" ") || `${rest} µs`);
}

/** How many entries at the beginning of a list fulfil what no entry after them does. */
export function bisect(list, holds) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(list[middle])) low = middle + 1; else high = middle;
  }
  return low;
}

// --- questions to Python --------------------------------------------------------------------

const STOPPED = "Interrupted before there was an answer. Ask again when you like.";
const GONE = "The kernel was restarted: run this cell again.";
// Answers are heard in every tab that shows the notebook.
const page = Math.random().toString(36).slice(2);
let questions = 0;

/** Return a function that asks Python by name: `await ask("rows", {first: 0})`. */
function asker(model, signal, busy, lost) {
  const open = new Map();
  const hear = (message, buffers) => {
    const waiting = open.get(message.id);
    if (!waiting) return;
    open.delete(message.id);
    busy?.(open.size);
    if (message.error) waiting.reject(new Error(message.error));
    else waiting.resolve({ ...message, buffers });
  };
  // A restart takes away whom one could ask; what was asked before is not answered any more.
  let gone = false;
  const left = async () => {
    const self = await model.widget_manager?.get_model?.(model.get("mark"));
    if (self?.comm_live !== false) return;
    gone = true;
    for (const waiting of open.values()) waiting.reject(new Error(GONE));
    open.clear();
    busy?.(0);
    lost?.(GONE);
  };
  model.on("msg:custom", hear);
  model.on("comm_live_update", left);
  signal?.addEventListener("abort", () => {
    model.off("msg:custom", hear);
    model.off("comm_live_update", left);
  });
  return (name, given = {}) => new Promise((resolve, reject) => {
    if (gone) { reject(new Error(GONE)); return; }
    const id = `${name}-${page}-${questions++}`;
    open.set(id, { resolve, reject });
    busy?.(open.size);
    // A stop can come in the moment between question and answer, and take the answer with it.
    const status = ({ content }) => {
      if (content.execution_state === "idle") setTimeout(() => hear({ id, error: STOPPED }), 1000);
    };
    model.send({ ask: name, id, with: given }, { iopub: { status } });
  });
}

/** Call `work` with the newest arguments only: while one call runs, all but the last are left out. */
export function latest(work) {
  let running = false;
  let next = null;
  return async function call(...given) {
    if (running) { next = given; return; }
    running = true;
    try { await work(...given); } finally {
      running = false;
      if (next) { const newest = next; next = null; call(...newest); }
    }
  };
}

/** Call `work` when nobody has called for a while. */
export function settled(work, milliseconds = 120) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), milliseconds);
  };
}

// --- the frame of a piece -------------------------------------------------------------------

/**
 * Build the frame around a piece: title, tools, a body, a line that says what is shown, and the
 * states that every piece has (loading, empty, error).
 *
 * Returns {root, body, tools, ask, status, problem, empty, keys}.
 */
export function frame({ model, el, signal }, { title, label, help = [] }) {
  const status = h("span", { class: "esnb-status", "aria-live": "polite" });
  const tools = h("span", { class: "esnb-tools" });
  const bar = h("div", { class: "esnb-progress", hidden: true }, h("div"));
  const told = h("div", { class: "esnb-problem", role: "alert", hidden: true });
  const body = h("div", { class: "esnb-body" });
  const keyHelp = h("dl", { class: "esnb-keys", hidden: true },
    help.map(([key, words]) => [h("dt", null, h("kbd", null, key)), h("dd", null, words)]));
  const copy = h("button", { type: "button", class: "esnb-button", onclick: copyCode },
    "Copy as code");
  const ask = asker(model, signal, busy, problem);
  const root = h("section", {
    // Without this the lab takes the keys: b inserts a cell, x cuts one.
    class: "esnb-piece tex2jax_ignore mathjax_ignore", "data-lm-suppress-shortcuts": "true", tabindex: "0",
    role: "group", "aria-label": label ?? title,
  },
  h("header", { class: "esnb-head" },
    h("strong", { class: "esnb-title" }, title), tools,
    h("span", { class: "esnb-grow" }),
    help.length ? h("button", {
      type: "button", class: "esnb-button", "aria-label": "Keys", "aria-expanded": "false",
      onclick: (event) => {
        keyHelp.hidden = !keyHelp.hidden;
        event.currentTarget.setAttribute("aria-expanded", String(!keyHelp.hidden));
      },
    }, "Keys") : null,
    copy),
  keyHelp, bar, told, body, h("footer", { class: "esnb-foot" }, status));
  // The lab looks at the element that has the focus before it looks at those around it.
  root.addEventListener("focusin", (event) =>
    event.target.setAttribute("data-lm-suppress-shortcuts", "true"));
  el.append(root);
  hideFallback(model, el, signal);

  let slow = null;
  function busy(count) {
    root.toggleAttribute("data-busy", count > 0);
    if (count && !slow) {
      // A question that takes longer than a second says that it goes on.
      slow = setTimeout(() => { bar.hidden = false; bar.title = "Interrupt the kernel to stop"; }, 1000);
    } else if (!count) {
      clearTimeout(slow);
      slow = null;
      bar.hidden = true;
    }
  }

  async function copyCode() {
    try {
      const { code } = await ask("copy");
      const copied = await clip(code);
      const before = copy.textContent;
      copy.textContent = copied ? "Copied" : "Code below";
      if (!copied) fill(told, h("pre", null, code)).hidden = false;
      setTimeout(() => { copy.textContent = before; }, 1500);
    } catch (error) { problem(error); }
  }

  function problem(error) {
    told.hidden = !error;
    if (error) {
      fill(told, h("span", null, visible(error.message ?? error, 2000)),
        h("button", { type: "button", class: "esnb-button", onclick: () => problem(null) }, "Close"));
    }
  }

  function empty(words) {
    fill(body, h("p", { class: "esnb-empty" }, words));
  }

  return {
    root, body, tools, ask, problem, empty,
    status: (...words) => fill(status, ...words),
    keys: (map) => keys(root, map),
  };
}

/** Put a text into the clipboard; false where the browser does not allow it. */
export async function clip(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { return false; }
}

/** Hide the picture that stands for this piece where no kernel runs. */
function hideFallback(model, el, signal) {
  const area = el.closest(".jp-OutputArea");
  if (!area) return;
  const hide = () => {
    for (const left of area.querySelectorAll(".esnb-fallback")) {
      const box = left.closest(".jp-OutputArea-child") ?? left;
      if (left.dataset.esnb === model.get("mark")) box.style.display = "none";
    }
  };
  hide();
  // It comes after the piece, of a large log much later.
  const watch = new MutationObserver(hide);
  watch.observe(area, { childList: true, subtree: true });
  signal?.addEventListener("abort", () => watch.disconnect());
}

/**
 * Bind keys of a piece: {"j": step, "Shift+ArrowLeft": dayBack}.  Escape gives the keys back to the
 * notebook.  In a field for text only Escape is heard.
 */
export function keys(root, map) {
  root.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, textarea, select, [contenteditable]");
    if (event.key === "Escape") {
      if (event.defaultPrevented) return;
      if (typing) { root.focus(); } else {
        const cell = root.closest(".jp-Cell, .jp-Notebook");
        root.blur();
        (root.closest(".jp-Notebook") ?? cell)?.focus?.();
      }
      event.stopPropagation();
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const plain = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const name = (event.shiftKey && event.key.length > 1 ? "Shift+" : "") + plain;
    const work = map[name] ?? map[event.key];
    if (work) {
      event.preventDefault();
      event.stopPropagation();
      work(event);
    }
  });
}

// --- parts ----------------------------------------------------------------------------------

/** A button. */
export const button = (words, work, attributes = {}) =>
  h("button", { type: "button", class: "esnb-button", onclick: work, ...attributes }, words);

/** A choice of a few, as buttons of which one is pressed; returns {node, set}. */
export function choice(label, options, value, changed) {
  const buttons = options.map(([name, words]) => h("button", {
    type: "button", class: "esnb-button", "aria-pressed": String(name === value),
    onclick: () => { set(name); changed(name); },
  }, words));
  function set(name) {
    options.forEach(([one], place) =>
      buttons[place].setAttribute("aria-pressed", String(one === name)));
  }
  return { node: h("span", { class: "esnb-choice", role: "group", "aria-label": label }, buttons), set };
}

/** A menu at a point of the page; items are [words, work].  Arrow keys, Enter, Escape. */
export function menu(root, items, x, y) {
  root.querySelector(".esnb-menu")?.remove();
  const back = document.activeElement;
  const close = () => { node.remove(); document.removeEventListener("pointerdown", away, true); };
  const away = (event) => { if (!node.contains(event.target)) close(); };
  const node = h("div", { class: "esnb-menu", role: "menu" },
    items.map(([words, work]) => h("button", {
      type: "button", role: "menuitem", class: "esnb-button",
      onclick: () => { close(); back?.focus?.(); work(); },
    }, words)));
  node.addEventListener("keydown", (event) => {
    const all = [...node.children];
    const here = all.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) all[(here + step + all.length) % all.length].focus();
    else if (event.key === "Escape") { close(); back?.focus?.(); } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const box = root.getBoundingClientRect();
  root.append(node);
  node.style.left = `${Math.max(0, Math.min(x - box.left, box.width - node.offsetWidth - 4))}px`;
  node.style.top = `${Math.max(0, Math.min(y - box.top, box.height - node.offsetHeight - 4))}px`;
  node.firstElementChild?.focus();
  document.addEventListener("pointerdown", away, true);
  return node;
}

/**
 * A table of any number of rows of which only those in sight are in the page.
 *
 * columns: [{name, words, width, right, text(row)}]; count: number of rows;
 * fetch(first, count): a promise of rows; picked(row, place): a row was chosen;
 * head(column): a heading was clicked.  Returns {node, refresh, focus, select}.
 */
export function grid({ columns, count, fetch, picked, head, height = 280, label }) {
  const ROW = 22;
  const MOST = 8_000_000; // pixels: browsers cannot make an element as high as they like
  const PAGE = 100;
  const pages = new Map();
  let total = count;
  let shown = columns;
  let chosen = -1;
  let age = 0;
  const spacer = h("div", { class: "esnb-grid-space" });
  const rows = h("div", { class: "esnb-grid-rows", role: "rowgroup" });
  const top = h("div", { class: "esnb-grid-head", role: "row" });
  const view = h("div", {
    class: "esnb-grid-view", style: { maxHeight: `${height}px` }, tabindex: "0",
    role: "grid", "aria-label": label,
  }, top, h("div", { class: "esnb-grid-canvas" }, spacer, rows));
  const inSight = () => Math.max(1, Math.ceil((view.clientHeight || height) / ROW));
  const full = () => Math.min(total * ROW, MOST);
  const firstShown = () => {
    const room = full() - (inSight() - 1) * ROW;
    if (total * ROW <= MOST || room <= 0) return Math.floor(view.scrollTop / ROW);
    return Math.round((view.scrollTop / Math.max(1, room)) * (total - inSight() + 1));
  };

  function refresh(changes = {}) {
    total = changes.count ?? total;
    shown = changes.columns ?? shown;
    if (changes.columns || !top.childElementCount) drawHead();
    pages.clear();
    age += 1;
    if (!changes.keep) { chosen = -1; view.scrollTop = 0; }
    spacer.style.height = `${full()}px`;
    view.setAttribute("aria-rowcount", String(total));
    draw();
  }

  function drawHead() {
    fill(top, shown.map((column) => h("div", {
      class: `esnb-cell${column.right ? " esnb-right" : ""}`, role: "columnheader",
      style: { flex: `0 0 ${column.width ?? 140}px` }, "aria-sort": column.sorted ?? null,
      tabindex: head ? "0" : null, onclick: head ? () => head(column) : null,
      onkeydown: head ? (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        head(column);
      } : null,
      "data-clickable": head ? "" : null,
    }, column.words ?? visible(column.name, 60),
    column.sorted === "ascending" ? " ↑" : column.sorted === "descending" ? " ↓" : "")));
    const wide = shown.reduce((sum, column) => sum + (column.width ?? 140), 0);
    for (const node of [top, rows, spacer]) node.style.minWidth = `${wide}px`;
  }

  function page(place) {
    if (!pages.has(place)) {
      const born = age;
      const entry = { rows: null };
      pages.set(place, entry);
      if (pages.size > 60) pages.delete(pages.keys().next().value);
      entry.coming = fetch(place * PAGE, Math.min(PAGE, total - place * PAGE)).then((found) => {
        if (born !== age) return;
        entry.rows = found;
        draw();
      }, () => { if (born === age) pages.delete(place); });
    }
    return pages.get(place);
  }

  let asked = null;
  function draw() {
    const first = Math.max(0, Math.min(firstShown(), total - 1));
    const many = Math.min(inSight() + 1, total - first);
    const made = [];
    let missing = false;
    for (let place = first; place < first + many; place += 1) {
      const found = pages.get(Math.floor(place / PAGE))?.rows?.[place % PAGE];
      missing ||= !found;
      made.push(h("div", {
        class: "esnb-row", role: "row", "aria-rowindex": String(place + 1),
        "aria-selected": String(place === chosen), "data-place": String(place),
      }, shown.map((column) => h("div", {
        class: `esnb-cell${column.right ? " esnb-right" : ""}`, role: "gridcell",
        style: { flex: `0 0 ${column.width ?? 140}px` },
      }, found ? visible(column.text(found), 300) : "…"))));
    }
    fill(rows, made);
    rows.style.transform = `translateY(${Math.min(view.scrollTop, Math.max(0, full() - many * ROW))}px)`;
    if (missing && total) {
      // While one scrolls fast, only where one stops is asked for.
      clearTimeout(asked);
      asked = setTimeout(() => {
        for (let place = Math.floor(first / PAGE); place <= Math.floor((first + many - 1) / PAGE); place += 1) page(place);
      }, pages.size ? 60 : 0);
    }
  }

  async function select(place, tell = true) {
    if (!total) return;
    if (place < 0 && !tell) { chosen = -1; draw(); return; }
    chosen = Math.max(0, Math.min(place, total - 1));
    const first = firstShown();
    if (chosen < first || chosen >= first + inSight() - 2) {
      const wanted = Math.max(0, chosen - Math.floor(inSight() / 2));
      view.scrollTop = total * ROW <= MOST ? wanted * ROW
        : (wanted / Math.max(1, total - inSight() + 1)) * (full() - (inSight() - 1) * ROW);
    }
    draw();
    const entry = page(Math.floor(chosen / PAGE));
    await entry.coming;
    const row = entry.rows?.[chosen % PAGE];
    if (row && tell) picked?.(row, chosen);
  }

  view.addEventListener("scroll", draw, { passive: true });
  rows.addEventListener("click", (event) => {
    const row = event.target.closest("[data-place]");
    if (row) select(Number(row.dataset.place));
  });
  keys(view, {
    ArrowDown: () => select(chosen + 1), ArrowUp: () => select(chosen - 1),
    PageDown: () => select(chosen + inSight() - 2), PageUp: () => select(chosen - inSight() + 2),
    Home: () => select(0), End: () => select(total - 1), Enter: () => select(chosen),
  });
  new ResizeObserver(draw).observe(view);
  refresh({ columns });
  return { node: view, refresh, select, focus: () => view.focus(), chosen: () => chosen };
}

/** Call `work("light" | "dark")` now and whenever the theme of the lab changes. */
export function theme(work, signal) {
  const now = () => work(document.body.dataset.jpThemeLight === "false" ? "dark" : "light");
  const watch = new MutationObserver(now);
  watch.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  signal?.addEventListener("abort", () => watch.disconnect());
  now();
}

/** Hear what Python says without being asked: `hear(model, signal, "session", work)`. */
export function hear(model, signal, event, work) {
  const listen = (message, buffers) => { if (message.event === event) work(message, buffers); };
  model.on("msg:custom", listen);
  signal?.addEventListener("abort", () => model.off("msg:custom", listen));
}

/** The chips of a session: what narrows the view, each with a button that takes it back. */
export function chips(node, list, clear) {
  fill(node, list.map(({ trait, words }) => h("span", { class: "esnb-chip" },
    h("span", null, visible(words, 120)),
    h("button", {
      type: "button", "aria-label": `Take back: ${visible(words, 120)}`, onclick: () => clear(trait),
    }, "×"))));
}
