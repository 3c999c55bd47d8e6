// One stream, event by event.  Its states come once, as patches: a step asks nobody.

const HEIGHT = 320; // of the three panes
const EVERY = 256; // rows between two states that are kept whole
const CHILDREN = 200; // of a value that are shown at once
const NODES = 3000;
const LEAVES = 60; // changes inside one field that are listed
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const STEEP = 44; // height of the scrubber

/** JSON of which numbers keep every digit: texts begin with $, numbers are texts with #. */
export function parsed(text) {
  return JSON.parse(text.replace(TOKEN, (token) =>
    token[0] === '"' ? `"$${token.slice(1)}` : `"#${token}"`));
}

/** A value as it came, and its kind of field, as something to show: text, none or a tree. */
export function valued(value, kind) {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return { cut: value[0], length: value[1], digest: value[2] };
  if (kind === "json" || (kind === "text" && /^[[{]/.test(value))) {
    try { return parsed(value); } catch { /* it is a text then */ }
  }
  return kind === "text" ? `$${value}` : `#${value}`;
}

export const nested = (value) => value !== null && typeof value === "object" && !("cut" in value);
const entries = (value) => Array.isArray(value)
  ? value.map((one, place) => [String(place), one])
  : Object.entries(value).map(([name, one]) => [name.slice(1), one]);

/** A leaf or a tree as one line of text. */
export function line(value, limit = 120) {
  const put = (one) => {
    if (one === null || one === undefined) return "null";
    if (typeof one === "boolean") return String(one);
    if (typeof one === "string") return one[0] === "#" ? one.slice(1) : JSON.stringify(one.slice(1));
    if ("cut" in one) return `${one.cut.slice(0, 80)}… (${one.length} characters)`;
    const inside = entries(one).slice(0, 30).map(([name, child]) =>
      Array.isArray(one) ? put(child) : `${name}: ${put(child)}`);
    return Array.isArray(one) ? `[${inside.join(", ")}]` : `{${inside.join(", ")}}`;
  };
  if (value === null || value === undefined) return "—";
  const text = typeof value === "string" && value[0] === "$" ? plain(value.slice(1)) : put(value);
  return text.length > limit ? `${text.slice(0, limit - 1)}…` : text;
}

// A text that could be taken for something else stands in quotes.
const plain = (text) =>
  /^$|^\s|\s$|^(true|false|null|—)$|^-?\d/.test(text) ? JSON.stringify(text) : text;

/** What is different between two values: [path, before, after] for each leaf. */
export function differences(before, after, path = [], found = []) {
  if (nested(before) && nested(after) && Array.isArray(before) === Array.isArray(after)) {
    const old = new Map(entries(before));
    const now = new Map(entries(after));
    for (const name of new Set([...old.keys(), ...now.keys()])) {
      differences(old.get(name) ?? (old.has(name) ? null : undefined),
        now.get(name) ?? (now.has(name) ? null : undefined), [...path, name], found);
    }
  } else if (JSON.stringify(before) !== JSON.stringify(after)) found.push([path, before, after]);
  return found;
}

/** The states of a stream, by the place of the event. */
export function states({ base, patches, fields }) {
  const whole = [];
  const row = [...base];
  const was = patches.map((patch, place) => {
    if (place % EVERY === 0) whole.push([...row]);
    const before = [];
    for (let at = 0; at < patch.length; at += 2) {
      before.push(row[patch[at]]);
      row[patch[at]] = patch[at + 1];
    }
    return before;
  });
  let here = -1;
  let now = [...base];
  return {
    /** The values after the event at a place; before all of them at -1. */
    at(place) {
      if (Math.abs(place - here) > EVERY) {
        const from = Math.max(0, Math.floor(place / EVERY));
        now = [...(whole[from] ?? base)];
        here = from * EVERY - 1;
      }
      while (here < place) {
        here += 1;
        const patch = patches[here];
        for (let at = 0; at < patch.length; at += 2) now[patch[at]] = patch[at + 1];
      }
      while (here > place) {
        const patch = patches[here];
        for (let at = 0; at < patch.length; at += 2) now[patch[at]] = was[here][at / 2];
        here -= 1;
      }
      return now;
    },
    /** What an event changed: [field, before, after]. */
    changes: (place) => was[place].map((before, at) =>
      [patches[place][at * 2], before, patches[place][at * 2 + 1]]),
    width: fields.length,
  };
}

export function render(ui, { model, el, signal }) {
  const { h, s, fill, visible } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Replay", label: "Replay of one stream",
    help: [["J or ↓", "next event"], ["K or ↑", "event before"], ["Space", "play, stop"],
      ["Home, End", "first, last event"], ["/", "filter the events"], ["G", "go to a time"],
      ["P", "pin what is chosen in the state"], ["D", "what differs from the pin"],
      ["← → in the state", "close, open a branch"], ["Esc", "back to the notebook"]],
  });
  const settings = model.get("settings");
  let told = null; // the answer: events as columns, states as patches
  let history = null;
  let place = -1;
  let sight = []; // places of the events that the filter leaves
  let timer = null;
  let speed = settings.speed;
  let words = settings.filter;
  let pin = null;
  let differs = false;
  let chosenPath = null;
  const opened = new Set();

  // --- parts -----------------------------------------------------------------------------
  const names = `esnb-streams-${Math.random().toString(36).slice(2)}`;
  const streamBox = h("input", {
    type: "text", "aria-label": "Stream", placeholder: "stream", list: names, size: "11",
    // Enter in the field, or a name that was chosen from the list.
    onchange: () => typed(), onkeydown: (event) => { if (event.key === "Enter") typed(); },
  });
  let lastTyped = null;
  function typed() {
    const stream = streamBox.value.trim();
    if (!stream || stream === lastTyped || stream === told?.stream) return;
    lastTyped = stream;
    open({ stream }).finally(() => { lastTyped = null; });
  }
  const offered = h("datalist", { id: names });
  const playButton = ui.button("▶ Play", () => play(!timer), { "aria-pressed": "false" });
  const speeds = ui.choice("Speed", [["1", "1×"], ["10", "10×"], ["real", "real"]], speed, (name) => {
    speed = name;
    piece.ask("set", { changes: { speed } }).catch(piece.problem);
    if (timer) { play(false); play(true); }
  });
  const clocks = ui.choice("Clock", [["recorded", "recorded"], ["occurred", "occurred"]],
    settings.clock, (clock) => open({ clock, near: position() }));
  const filterBox = h("input", {
    type: "text", "aria-label": "Filter events", placeholder: "filter (/)", size: "8", value: words,
    oninput: () => { words = filterBox.value; filtered(); noteFilter(); },
  });
  const goBox = h("input", {
    type: "text", "aria-label": "Go to time", placeholder: "go to time (G)", size: "11",
    onkeydown: (event) => { if (event.key === "Enter") goTo(); },
  });
  const noteFilter = ui.settled(() => piece.ask("set", { changes: { filter: words } }), 400);
  piece.tools.append(streamBox, offered, playButton, speeds.node, clocks.node, filterBox, goBox);

  const track = h("div", {
    class: "esnb-replay-track", role: "slider", tabindex: "0", "aria-label": "Event",
  });
  const events = h("div", { class: "esnb-replay-pane", role: "region", "aria-label": "Events" });
  const state = h("div", { class: "esnb-replay-pane", role: "region", "aria-label": "State" });
  const changes = h("div", { class: "esnb-replay-pane", role: "region", "aria-label": "What changed" });
  const panes = h("div", { class: "esnb-replay-panes" }, events, state, changes);
  const tree = h("div", { class: "esnb-replay-tree", role: "tree", "aria-label": "State after the event" });

  const name = (list, codes, at) => (codes[at] === null ? null : list[codes[at]]);
  const type = (at) => name(told.rows.event_types, told.rows.event_type, at);
  const actor = (at) => name(told.rows.actors, told.rows.actor, at);
  const position = () => (told?.rows && place >= 0 ? told.rows.position[place] : null);
  const gone = () => told.gone.has(place);
  const kinds = () => told.kinds;

  // What does not fit is told beside the list anyway.
  const columns = (width) => {
    const digits = 18 + 8 * Math.max(2, ui.number(told?.rows?.revision.at(-1) ?? 0).length);
    const room = width - digits - 138 - 14;
    const also = room > 290;
    return [
      { name: "revision", words: "#", width: digits, right: true, text: ({ at }) => ui.number(told.rows.revision[at]) },
      { name: "time", words: "time", width: 138, text: ({ at }) => ui.instant(told.rows.time[at], told.zone, "minute") },
      { name: "event_type", words: "event", width: Math.max(110, also ? room - 150 : room), text: ({ at }) => type(at) },
      ...(also ? [
        { name: "actor", words: "actor", width: 96, text: ({ at }) => actor(at) },
        { name: "changed", words: "fields", width: 54, right: true, text: ({ at }) => String(told.patches[at].length / 2) },
      ] : []),
    ];
  };
  const grid = ui.grid({
    label: "Events of the stream", height: HEIGHT - 30, count: 0, columns: columns(330),
    fetch: async (first, count) => sight.slice(first, first + count).map((at) => ({ at })),
    picked: ({ at }) => show(at),
  });
  let fitted = 0;
  const fit = new ResizeObserver(() => {
    const width = grid.node.clientWidth;
    if (width && width !== fitted && told?.patches) {
      fitted = width;
      grid.refresh({ columns: columns(width), keep: true });
    }
  });
  fit.observe(grid.node);
  signal?.addEventListener("abort", () => fit.disconnect());
  const more = h("div", { class: "esnb-tools" });
  events.append(h("h4", null, "Events"), grid.node, more);

  // --- what is asked ---------------------------------------------------------------------
  const open = ui.latest(async (wanted) => {
    play(false);
    try {
      const answer = await piece.ask("stream", wanted);
      piece.problem(null);
      take(answer);
    } catch (error) { piece.problem(error); }
  });
  const tell = ui.settled(() => {
    if (position() !== null) piece.ask("choose", { position: position() }).catch(piece.problem);
  }, 200);
  const details = ui.settled(async () => {
    if (!payload.open || position() === null) return;
    const asked = position();
    try {
      const { event } = await piece.ask("event", { position: asked });
      if (asked === position()) drawEvent(event);
    } catch (error) { piece.problem(error); }
  }, 80);

  async function goTo() {
    try {
      const { at } = await piece.ask("when", { text: goBox.value });
      piece.root.focus();
      const last = told.rows.time.at(-1);
      const inside = !told.bins || (at >= told.rows.time[0] && at <= last);
      if (inside) show(before(at)); else open({ at });
    } catch (error) { piece.problem(error); }
  }

  function take(answer) {
    told = answer;
    offer(answer.streams);
    streamBox.value = answer.stream ?? "";
    clocks.set(answer.clock);
    if (answer.stream === null) {
      piece.empty("No stream yet: type its name above, or choose one in another piece of this session.");
      piece.status(`times in ${visible(answer.zone)}`);
      return;
    }
    told.gone = new Set(answer.ended);
    const json = new Set(answer.json);
    told.kinds = answer.fields.map((field, at) => (json.has(at) ? "json"
      : /^(VARCHAR|TIMESTAMP|DATE|TIME|UUID|BLOB|ENUM)/i.test(field.type) ? "text" : "plain"));
    history = states(answer);
    if (pin && pin.stream !== answer.stream) { pin = null; differs = false; }
    if (!panes.isConnected) fill(piece.body, track, panes);
    if (answer.error) piece.problem(`The events are shown, but no states: ${answer.error}`);
    place = answer.chosen;
    filtered(false);
    const earlier = answer.first;
    const later = answer.total - answer.first - answer.patches.length;
    fill(more,
      earlier ? ui.button(`${ui.number(earlier)} earlier`, () => open({ near: told.rows.position[0] })) : null,
      later > 0 ? ui.button(`${ui.number(later)} later`, () => open({ near: told.rows.position.at(-1) })) : null);
    show(place, false);
  }

  function offer({ names: some, total }) {
    fill(offered, some.map((one) => h("option", { value: one })));
    streamBox.title = total ? `${ui.number(total)} streams are chosen in the session` : "";
  }

  // --- going -----------------------------------------------------------------------------
  /** The last event up to a time. */
  const before = (at) => Math.max(0, ui.bisect(told.rows.time, (time) => time <= at) - 1);

  /** Where an event stands among those in sight, or would stand. */
  const rank = (at) => ui.bisect(sight, (one) => one < at);

  function step(by) {
    if (!sight.length) return;
    const here = rank(place);
    const on = sight[here] === place;
    const next = by > 0 ? here + (on ? by : by - 1) : here + by;
    show(sight[Math.max(0, Math.min(next, sight.length - 1))]);
  }

  function filtered(redraw = true) {
    const wanted = words.trim().toLowerCase();
    const all = told.patches.map((_, at) => at);
    const fits = told.rows.event_types.map((one) => String(one).toLowerCase().includes(wanted));
    const acted = told.rows.actors.map((one) => String(one).toLowerCase().includes(wanted));
    const fields = told.fields.map((one) => one.name.toLowerCase().includes(wanted));
    sight = !wanted ? all : all.filter((at) => fits[told.rows.event_type[at]]
      || acted[told.rows.actor[at]]
      || told.patches[at].some((one, k) => k % 2 === 0 && fields[one]));
    grid.refresh({ count: sight.length, columns: columns(grid.node.clientWidth || 330) });
    if (redraw) show(place, false);
  }

  function show(at, say = true) {
    place = at;
    const here = rank(at);
    if (sight[here] === at) { if (grid.chosen() !== here) grid.select(here, false); }
    drawTrack();
    drawState();
    drawChanges();
    drawStatus();
    if (say) tell();
    details();
  }

  function play(on) {
    clearTimeout(timer);
    timer = null;
    if (on && told?.patches?.length) {
      if (rank(place) >= sight.length - 1) show(sight[0] ?? 0);
      timer = setTimeout(next, wait());
    }
    fill(playButton, timer ? "■ Stop" : "▶ Play");
    playButton.setAttribute("aria-pressed", String(Boolean(timer)));
    if (told?.patches) drawStatus();
  }

  const pace = () => Math.max(1, (told.rows.time.at(-1) - told.rows.time[0]) / 60); // µs a second
  function wait() {
    if (speed !== "real") return speed === "10" ? 100 : 1000;
    const here = rank(place);
    const gap = (told.rows.time[sight[here + 1]] ?? told.rows.time[place]) - told.rows.time[place];
    return Math.max(50, Math.min(5000, (1000 * gap) / pace()));
  }
  function next() {
    if (!timer) return;
    step(1);
    if (rank(place) >= sight.length - 1) { play(false); return; }
    timer = setTimeout(next, wait());
  }
  signal?.addEventListener("abort", () => clearTimeout(timer));

  // --- the scrubber ----------------------------------------------------------------------
  let scale = null;
  let drawn = null;
  function drawTrack() {
    const width = Math.max(200, track.clientWidth || 600);
    const { rows, bins, ends } = told;
    const [from, to] = ends ?? [rows.time[0], rows.time.at(-1)];
    const x = (time) => (to > from ? 6 + ((width - 12) * (time - from)) / (to - from) : width / 2);
    scale = { x, time: (px) => from + ((px - 6) / (width - 12)) * (to - from) };
    const key = [told.stream, told.clock, told.first, told.total, width, words, pin?.time].join("|");
    if (drawn !== key) {
      drawn = key;
      const columns = new Map(); // ticks that fall on one pixel are one, the higher the more
      const hidden = new Set();
      const seen = new Set(sight);
      rows.time.forEach((time, at) => {
        const px = Math.round(x(time));
        if (seen.has(at)) columns.set(px, (columns.get(px) ?? 0) + 1); else hidden.add(px);
      });
      const most = Math.max(1, ...columns.values());
      const tick = (px, high) => `M${px + 0.5} 26v${-high}`;
      const highest = bins ? Math.max(1, ...bins) : 1;
      fill(track, s("svg", { width, height: STEEP, "aria-hidden": "true" },
        bins ? s("path", {
          class: "esnb-replay-rest",
          d: bins.map((count, at) => (count ? `M${6 + ((at + 0.5) * (width - 12)) / bins.length} 26v${-(4 + (16 * count) / highest)}` : "")).join(""),
        }) : null,
        s("line", { x1: 6, x2: width - 6, y1: 26.5, y2: 26.5, class: "esnb-replay-axis" }),
        s("path", { class: "esnb-replay-hidden", d: [...hidden].filter((px) => !columns.has(px)).map((px) => tick(px, 6)).join("") }),
        s("path", { class: "esnb-replay-tick", d: [...columns].map(([px, n]) => tick(px, 8 + (10 * n) / most)).join("") }),
        s("text", { x: 6, y: 41, class: "esnb-faint" }, ui.instant(from, told.zone, "minute")),
        s("text", { x: width - 6, y: 41, class: "esnb-faint", "text-anchor": "end" }, ui.instant(to, told.zone, "minute")),
        pin?.clock === told.clock ? s("path", { class: "esnb-replay-pin", d: `M${x(pin.time)} 5l5 -5h-10z` }) : null,
        s("g", { class: "esnb-replay-now" },
          s("path", { d: "M0 2v27" }), s("circle", { cx: 0, cy: 26, r: 5 }))));
    }
    const now = track.querySelector(".esnb-replay-now");
    now?.setAttribute("transform", `translate(${x(rows.time[place])} 0)`);
    track.setAttribute("aria-valuemin", "1");
    track.setAttribute("aria-valuemax", String(told.total));
    track.setAttribute("aria-valuenow", String(told.first + place + 1));
    track.setAttribute("aria-valuetext",
      `event ${told.first + place + 1} of ${told.total}, ${visible(type(place), 60)}, ${ui.instant(rows.time[place], told.zone)}`);
  }
  let moving = null;
  const reach = (event) => {
    const at = scale.time(event.clientX - track.getBoundingClientRect().left);
    const inside = !told.bins || (at >= told.rows.time[0] && at <= told.rows.time.at(-1));
    moving = { at, inside };
    if (inside) {
      const first = before(at);
      const second = Math.min(first + 1, told.rows.time.length - 1);
      const nearest = Math.abs(told.rows.time[second] - at) < Math.abs(told.rows.time[first] - at) ? second : first;
      const here = rank(nearest);
      const target = sight[here] ?? sight.at(-1);
      if (target !== undefined && target !== place) show(target);
    }
  };
  track.addEventListener("pointerdown", (event) => {
    if (!told?.patches?.length) return;
    play(false);
    track.setPointerCapture(event.pointerId);
    reach(event);
  });
  track.addEventListener("pointermove", (event) => { if (moving) reach(event); });
  const release = () => { if (moving && !moving.inside) open({ at: Math.round(moving.at) }); moving = null; };
  track.addEventListener("pointerup", release);
  track.addEventListener("pointercancel", () => { moving = null; });
  const resized = new ResizeObserver(() => { if (told?.patches?.length) drawTrack(); });
  resized.observe(track);
  signal?.addEventListener("abort", () => resized.disconnect());

  // --- the state -------------------------------------------------------------------------
  const stateHead = h("h4");
  const pinned = h("div", { class: "esnb-replay-pinned", hidden: true });
  state.append(stateHead, pinned, tree);

  const value = (field, raw) => valued(raw, kinds()[field]);
  const pathName = (path) => path.map((one) => visible(one, 60)).join(" › ");

  /** The part of the state at a path: [field name, key…]. */
  function part(path, at) {
    const field = told.fields.findIndex((one) => one.name === path[0]);
    const values = history.at(at);
    if (!path.length) {
      return Object.fromEntries(told.fields.map((one, k) => [`$${one.name}`, value(k, values[k])]));
    }
    let found = field < 0 ? undefined : value(field, values[field]);
    for (const key of path.slice(1)) {
      if (!nested(found)) return undefined;
      found = Array.isArray(found) ? found[Number(key)] : found[`$${key}`];
    }
    return found;
  }

  function drawState() {
    const focused = tree.contains(document.activeElement) ? chosenPath : null;
    const values = history.at(place);
    const touched = new Map(history.changes(place).map(([field, was]) => [field, was]));
    const nodes = [];
    let without = 0;
    let left = 0;
    const add = (path, label, shown, was, deep) => {
      if (nodes.length >= NODES) { left += 1; return; }
      const id = JSON.stringify(path);
      const inner = nested(shown);
      const children = inner ? entries(shown) : [];
      const isOpen = inner && (opened.has(id) || (!opened.has(`-${id}`) && deep < 2 && children.length <= 12));
      const altered = was !== undefined && JSON.stringify(was.value) !== JSON.stringify(shown);
      nodes.push(h("div", {
        class: `esnb-replay-node${altered ? " esnb-replay-new" : ""}`, role: "treeitem",
        "aria-level": String(deep), "aria-expanded": inner ? String(isOpen) : null,
        "aria-selected": String(id === chosenPath), tabindex: id === chosenPath ? "0" : "-1",
        "data-path": id, style: { paddingLeft: `${deep * 14 - 10}px` },
      },
      h("span", { class: "esnb-replay-fold", "aria-hidden": "true" }, inner ? (isOpen ? "▾" : "▸") : ""),
      h("span", { class: "esnb-replay-mark", title: altered ? "changed by this event" : null },
        altered ? "●" : ""),
      h("span", { class: "esnb-replay-name" }, visible(label, 80)),
      h("span", { class: `esnb-replay-value${inner ? " esnb-replay-inner" : ""}` }, inner
        ? `${Array.isArray(shown) ? "list" : "object"} of ${ui.number(children.length)}${isOpen ? "" : `  ${visible(line(shown, 90))}`}`
        : shown?.cut !== undefined ? [visible(shown.cut, 200), ui.button(`all ${ui.number(shown.length)} characters`, () => whole(path[0]))]
          : visible(line(shown, 300)))));
      if (isOpen) {
        children.slice(0, CHILDREN).forEach(([key, child]) => {
          const earlier = was === undefined ? undefined
            : { value: nested(was.value) ? (Array.isArray(was.value) ? was.value[Number(key)] : was.value[`$${key}`]) : undefined };
          add([...path, key], Array.isArray(shown) ? `[${key}]` : key, child, earlier, deep + 1);
        });
        if (children.length > CHILDREN) {
          nodes.push(h("div", { class: "esnb-replay-more", style: { paddingLeft: `${deep * 14 + 20}px` } },
            `${ui.number(children.length - CHILDREN)} more`));
        }
      }
    };
    if (!gone()) {
      told.fields.forEach((field, k) => {
        const changed = touched.has(k);
        if (values[k] === null && !changed) { without += 1; return; }
        add([field.name], field.name, value(k, values[k]),
          changed ? { value: value(k, touched.get(k)) } : undefined, 1);
      });
    }
    fill(stateHead, "State after it", h("span", { class: "esnb-faint" },
      told.error ? "" : gone() ? "" : ` ${ui.number(told.fields.length - without)} of ${ui.number(told.fields.length)} fields have a value`));
    if (told.error) nodes.push(h("p", { class: "esnb-empty" }, "This stream could not be folded; see above."));
    else if (gone()) nodes.push(h("p", { class: "esnb-empty" }, "This event ended it: there is no state until it begins anew."));
    if (left) nodes.push(h("p", { class: "esnb-empty" }, `${ui.number(left)} lines more; close some branches.`));
    fill(tree, nodes);
    const first = tree.querySelector("[data-path]");
    if (first && !tree.querySelector("[tabindex='0']")) first.setAttribute("tabindex", "0");
    if (focused) (find(focused) ?? first)?.focus();
    const mark = tree.querySelector(".esnb-replay-new");
    if (mark && (mark.offsetTop < state.scrollTop || mark.offsetTop + 24 > state.scrollTop + state.clientHeight)) {
      state.scrollTop = Math.max(0, mark.offsetTop - state.clientHeight / 2);
    }
    drawPin();
  }
  const find = (id) => [...tree.children].find((node) => node.dataset.path === id);

  async function whole(field) {
    try {
      const { text, length } = await piece.ask("value", { position: position(), field });
      const box = h("textarea", { readonly: true, rows: "8", "aria-label": `All of ${visible(field, 60)}` });
      box.value = text ?? "";
      fill(pinned, h("strong", null, visible(field, 60)),
        ` the first ${ui.number(text?.length ?? 0)} of ${ui.number(length)} characters `,
        ui.button("Close", drawPin), box).hidden = false;
    } catch (error) { piece.problem(error); }
  }

  function choose(node, focus = true) {
    if (!node?.dataset.path) return;
    tree.querySelectorAll("[data-path]").forEach((one) => {
      one.setAttribute("aria-selected", String(one === node));
      one.setAttribute("tabindex", one === node ? "0" : "-1");
    });
    chosenPath = node.dataset.path;
    if (focus) node.focus();
  }
  function unfold(node, on) {
    const id = node.dataset.path;
    opened.delete(on ? `-${id}` : id);
    opened.add(on ? id : `-${id}`);
    choose(node);
    drawState();
  }
  tree.addEventListener("click", (event) => {
    if (event.target.closest("button")) return;
    const node = event.target.closest("[data-path]");
    if (!node) return;
    choose(node);
    if (node.hasAttribute("aria-expanded")) unfold(node, node.getAttribute("aria-expanded") === "false");
  });
  const sibling = (by) => {
    const all = [...tree.querySelectorAll("[data-path]")];
    const here = all.findIndex((one) => one === document.activeElement);
    choose(all[Math.max(0, Math.min(here + by, all.length - 1))]);
  };
  ui.keys(tree, {
    ArrowDown: () => sibling(1), ArrowUp: () => sibling(-1),
    ArrowRight: () => { const node = document.activeElement; if (node.getAttribute("aria-expanded") === "false") unfold(node, true); else sibling(1); },
    ArrowLeft: () => {
      const node = document.activeElement;
      if (node.getAttribute("aria-expanded") === "true") { unfold(node, false); return; }
      const path = JSON.parse(node.dataset.path ?? "[]");
      if (path.length > 1) choose(find(JSON.stringify(path.slice(0, -1))));
    },
    Enter: () => { const node = document.activeElement; if (node.hasAttribute("aria-expanded")) unfold(node, node.getAttribute("aria-expanded") === "false"); },
  });

  // --- the pin ---------------------------------------------------------------------------
  function setPin() {
    if (!history || gone() || told.error) return;
    const path = chosenPath && find(chosenPath) ? JSON.parse(chosenPath) : [];
    pin = { path, at: place, value: part(path, place), stream: told.stream, clock: told.clock,
      revision: told.rows.revision[place], time: told.rows.time[place] };
    drawTrack();
    drawPin();
    drawChanges();
  }
  function unpin() {
    pin = null;
    differs = false;
    drawTrack();
    drawPin();
    drawChanges();
  }
  const pinName = () => (pin.path.length ? pathName(pin.path) : "the whole state");
  function drawPin() {
    pinned.hidden = !pin;
    if (!pin) return;
    fill(pinned, h("strong", null, `Pinned: ${pinName()}`),
      ` as after event #${ui.number(pin.revision)}, ${ui.instant(pin.time, told.zone)} `,
      ui.button(differs ? "Hide difference" : "Difference", difference, { "aria-pressed": String(differs) }), " ",
      ui.button("Unpin", unpin),
      h("div", { class: "esnb-replay-value" }, visible(line(pin.value, 200))));
  }
  function difference() {
    if (!pin) { piece.status("Nothing is pinned: choose a part of the state and press P."); return; }
    differs = !differs;
    drawPin();
    drawChanges();
  }

  // --- what changed ----------------------------------------------------------------------
  const changeHead = h("h4");
  const facts = h("div", { class: "esnb-replay-facts" });
  const list = h("div");
  const eventBox = h("div", { class: "esnb-replay-event" });
  const payload = h("details", { ontoggle: () => details() }, h("summary", null, "The event itself"), eventBox);
  changes.append(changeHead, facts, list, payload);

  const row = (label, ...content) => [h("span", { class: "esnb-faint" }, label), h("span", null, content)];
  const absent = (one) => one === undefined || one === null;
  function table(rows, label) {
    return h("table", { class: "esnb-replay-changes", "aria-label": label },
      h("thead", null, h("tr", null, ["", "field", "before", "after"].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", null, rows.map(([path, was, now]) => {
        const [sign, said] = absent(was) ? ["+", "added"] : absent(now) ? ["−", "removed"] : ["~", "changed"];
        return h("tr", { class: `esnb-replay-${said}` },
          h("td", { title: said, "aria-label": said }, sign),
          h("th", { scope: "row" }, pathName(path)),
          h("td", null, visible(line(was, 200))), h("td", null, visible(line(now, 200))));
      })));
  }

  function drawChanges() {
    const { rows } = told;
    fill(changeHead, differs ? "What differs from the pin" : "What it changed");
    const late = rows.recorded[place] - rows.occurred[place];
    fill(facts,
      row("event", h("strong", null, visible(type(place), 120)), ` #${ui.number(rows.revision[place])}`),
      row("by", visible(actor(place), 120)),
      row("occurred", ui.instant(rows.occurred[place], told.zone, "micro")),
      row("recorded", ui.instant(rows.recorded[place], told.zone, "micro"),
        late > 0 ? h("span", { class: "esnb-faint" }, ` ${ui.span(late)} later`) : ""),
      row("position", ui.number(rows.position[place])));
    if (differs && pin) {
      const found = differences(pin.value, part(pin.path, place), pin.path);
      fill(list, found.length ? table(found.slice(0, LEAVES), "Differences from the pin")
        : h("p", { class: "esnb-empty" }, `${pinName()} is as it was when it was pinned.`),
      found.length > LEAVES ? h("p", { class: "esnb-faint" }, `${ui.number(found.length - LEAVES)} more differences`) : null);
      return;
    }
    const found = [];
    for (const [field, was, now] of history.changes(place)) {
      found.push(...differences(value(field, was) ?? undefined, value(field, now) ?? undefined, [told.fields[field].name]));
    }
    const over = place - (sight[rank(place) - 1] ?? -1) - 1;
    fill(list,
      found.length ? table(found.slice(0, LEAVES), "Changed by this event")
        : h("p", { class: "esnb-empty" }, told.error ? "Without states nothing can be compared." : gone() ? "It ended the aggregate." : "No field changed."),
      found.length > LEAVES ? h("p", { class: "esnb-faint" }, `${ui.number(found.length - LEAVES)} more changes`) : null,
      over > 0 && sight.length < told.patches.length
        ? h("p", { class: "esnb-faint" }, `${ui.number(over)} hidden ${over === 1 ? "event" : "events"} before it; the state has them.`) : null);
  }

  function drawEvent(event) {
    if (!event) { fill(eventBox, "This event stands in no log."); return; }
    const text = (one) => (Array.isArray(one) ? `${one[0]}… (${ui.number(one[1])} characters)` : one);
    
    fill(eventBox, h("div", { class: "esnb-replay-facts" },
      row("id", visible(event.event_id)), row("version", visible(event.schema_version)),
      row("tags", event.tags.length ? event.tags.map((one) => visible(one, 80)).join(", ") : "—"),
      row("caused by", visible(event.causation_id)), row("belongs to", visible(event.correlation_id))),
    ["data", "metadata"].map((part_) => (event[part_] === null ? null
      : [h("div", { class: "esnb-faint" }, part_), h("pre", null, pretty(text(event[part_])))])));
  }
  /** JSON with line breaks, every digit and escape as it came. */
  function pretty(text) {
    let deep = 0;
    return text.replace(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g, (token) => {
      if (token === "{" || token === "[") { deep += 1; return `${token}\n${"  ".repeat(Math.min(deep, 40))}`; }
      if (token === "}" || token === "]") { deep -= 1; return `\n${"  ".repeat(Math.max(0, Math.min(deep, 40)))}${token}`; }
      if (token === ",") return `,\n${"  ".repeat(Math.min(deep, 40))}`;
      return token === ":" ? ": " : token;
    }).split("\n").map((one) => visible(one, 2000)).join("\n");
  }

  function drawStatus() {
    const shipped = told.patches.length;
    const parts = [`event ${ui.number(told.first + place + 1)} of ${ui.number(told.total)}`];
    if (shipped < told.total) parts.push(`${ui.number(shipped)} of them here, the rest by the buttons and the scrubber`);
    if (sight.length < shipped) parts.push(`${ui.number(sight.length)} in sight, the hidden ones apply all the same`);
    if (timer) {
      parts.push(speed === "real" ? `playing, a second is ${ui.span(pace())}, no wait over 5 s`
        : `playing, ${speed === "10" ? "10 events" : "1 event"} a second`);
    }
    parts.push(told.clock === "recorded" ? "in the order in which they became known" : "in the order in which they happened");
    parts.push(`times in ${visible(told.zone)}`);
    piece.status(parts.join(" · "));
  }

  // --- keys, session ---------------------------------------------------------------------
  const there = (work) => () => { if (told?.patches?.length) work(); };
  const edge = (at) => there(() => { if (sight.length) show(sight.at(at)); });
  ui.keys(track, { ArrowRight: there(() => step(1)), ArrowLeft: there(() => step(-1)) });
  piece.keys({
    j: there(() => step(1)), k: there(() => step(-1)),
    ArrowDown: there(() => step(1)), ArrowUp: there(() => step(-1)),
    Home: edge(0), End: edge(-1),
    "/": () => filterBox.focus(), g: () => goBox.focus(),
    p: there(setPin), d: there(difference),
    " ": (event) => { if (event.target.closest("button, summary")) event.target.click(); else play(!timer); },
  });
  ui.hear(model, signal, "go", () => open({}));
  ui.hear(model, signal, "session", ui.latest(async ({ changed }) => {
    try {
      const { stream, near, streams } = await piece.ask("follow", { changed });
      if (streams) offer(streams);
      if (!stream) return;
      const at = stream === told?.stream && near !== undefined ? told.rows.position.indexOf(near) : -1;
      if (at >= 0) {
        show(at, false);
        await piece.ask("set", { changes: { at: near } });
      } else if (stream !== told?.stream || near !== undefined) open(near === undefined ? { stream } : { stream, near });
    } catch (error) { piece.problem(error); }
  }));
  open({});
}
