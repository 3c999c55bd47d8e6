// The timeline: an overview with a window that is drawn on it, lanes with events or density below,
// notes.  What is drawn is in the page: hovering and brushing ask nobody.

const COLORS = ["#3b82c4", "#e08a1e", "#2a9d7c", "#cf5c8d", "#8467c6", "#c9a227", "#4fa8b8",
  "#b5583c", "#7a9a3a", "#5f6caf", "#a0785a"];
const SHAPES = ["circle", "square", "up", "diamond", "down", "cross", "plus"];
const ROW = 22;
const GUTTER = 190;
const OVER = 64;
const DAY = 86400e6;
const STEPS = [1, 1e3, 1e4, 1e5, 1e6, 5e6, 15e6, 60e6, 300e6, 900e6, 3600e6, 4 * 3600e6, 12 * 3600e6,
  DAY, 2 * DAY, 7 * DAY, 14 * DAY];

export function render(ui, { model, el, signal }) {
  const { h, s, number } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Timeline",
    label: "Timeline of events, with a window",
    help: [["← →", "event before, next event"], ["Shift+← Shift+→", "window a day back, on"],
      ["+ −", "window half, twice as long"], ["0", "all time"], ["N", "note here"],
      ["S", "star here"], ["Esc", "back to the notebook"]],
  });

  let over = null; // the overview: {at, bars, chosen, …}
  let view = null; // the lanes
  let brush = null; // the window, [first, last] or null
  let spot = null; // a moment that was clicked where there is no event
  let event = null; // the event of the session
  let hover = null;
  let width = 0;

  // --- parts --------------------------------------------------------------------------------
  const overview = s("svg", { class: "esnb-timeline-over", height: OVER + 18, role: "group",
    "aria-label": "Overview; drag to choose a window, double click for all time" });
  const labels = h("div", { class: "esnb-timeline-labels", role: "list", "aria-label": "Lanes" });
  const canvas = h("canvas", { class: "esnb-timeline-canvas", role: "img" });
  const scroll = h("div", { class: "esnb-timeline-lanes" }, labels, canvas);
  const axis = s("svg", { class: "esnb-timeline-axis", height: 22, "aria-hidden": "true" });
  const tip = h("div", { class: "esnb-timeline-tip", role: "tooltip", hidden: true });
  const legend = h("div", { class: "esnb-timeline-legend", "aria-label": "Event types" });
  const chosen = h("div", { class: "esnb-timeline-event", "aria-live": "polite" });
  const entry = h("div", { class: "esnb-tools", hidden: true });
  const pins = h("ul", { class: "esnb-timeline-notes", "aria-label": "Notes" });
  const none = h("p", { class: "esnb-empty", hidden: true });
  piece.body.append(overview, none, scroll, axis, legend, chosen, entry, pins, tip);

  const lanes = ui.choice("Lanes", [["", "Auto"], ["event_type", "Types"], ["stream", "Streams"]],
    model.get("settings").lanes ?? "", (by) => set({ lanes: by || null }));
  const clock = ui.choice("Clock", [["occurred", "Occurred"], ["recorded", "Recorded"]],
    "occurred", (name) => ask("clock", { clock: name }));
  piece.tools.append(lanes.node, clock.node,
    ui.button("−", () => zoom(2), { "aria-label": "Window twice as long" }),
    ui.button("+", () => zoom(0.5), { "aria-label": "Window half as long" }),
    ui.button("All time", () => choose(null)),
    ui.button("Note", () => note(), { "aria-label": "Note at the event or moment (N)" }),
    ui.button("Star", star, { "aria-label": "Star the event or moment (S)" }));

  const ask = async (name, given) => {
    try { piece.problem(null); return await piece.ask(name, given); } catch (error) {
      piece.problem(error);
      return null;
    }
  };
  async function set(changes) { if (await ask("set", { changes })) showView(); }

  // --- scales -------------------------------------------------------------------------------
  const room = () => Math.max(50, width - GUTTER);
  const onOver = (at) => GUTTER + ((at - over.from) / (over.to - over.from)) * room();
  const ofOver = (x) => over.from
    + (Math.max(0, Math.min(room(), x - GUTTER)) / room()) * (over.to - over.from);
  const ends = () => (view?.first !== undefined ? [view.first, Math.max(view.last, view.first + 1)]
    : brush ?? [over.from, over.to]);
  const onLane = (at) => { const [a, b] = ends(); return 8 + ((at - a) / (b - a)) * (room() - 16); };
  const ofLane = (x) => { const [a, b] = ends(); return a + ((x - 8) / (room() - 16)) * (b - a); };
  const fineness = (span) => (span > 200 * DAY ? "day" : span > 60e6 ? "minute" : "micro");

  /** Ticks on the clocks of the zone: [[microseconds, words]]. */
  function ticks(first, last, many) {
    const zone = over.zone;
    const shift = (at) => {
      const [day, time] = ui.instant(at, zone).split(" ");
      return Date.parse(`${day}T${time}Z`) * 1e3 - Math.floor(at / 1e6) * 1e6;
    };
    const span = (last - first) / many;
    const found = [];
    const back = (wall) => { const once = wall - shift(wall); return wall - shift(once); };
    const small = STEPS.find((one) => one >= span);
    if (small && small <= 2 * DAY) {
      const from = first + shift(first);
      for (let wall = Math.ceil(from / small) * small; found.length < 60; wall += small) {
        const at = back(wall);
        if (at > last) break;
        if (at < first) continue;
        const words = ui.instant(at, zone, small < 1e6 ? "micro" : "second");
        const [day, time] = words.split(" ");
        found.push([at, small >= DAY || time === "00:00:00" ? day.slice(5)
          : small >= 60e6 ? time.slice(0, 5) : time]);
      }
      return found;
    }
    const months = [0.25, 0.5, 1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 3600, 12000]
      .find((one) => one * 30 * DAY >= span) ?? 36000;
    const date = new Date((first + shift(first)) / 1e3);
    let index = date.getUTCFullYear() * 12 + date.getUTCMonth();
    if (months < 1) {
      for (; found.length < 60; index += 1) {
        for (const day of months === 0.25 ? [1, 8, 15, 22] : [1, 15]) {
          const at = back(utc(index, day));
          if (at > last) return found;
          if (at >= first) found.push([at, ui.instant(at, zone, "day").slice(5)]);
        }
      }
    }
    for (index = Math.ceil(index / months) * months; found.length < 60; index += months) {
      const at = back(utc(index, 1));
      if (at > last) break;
      if (at >= first) found.push([at, ui.instant(at, zone, "day").slice(0, months < 12 ? 7 : 4)]);
    }
    return found;
  }

  function utc(index, day) {
    const date = new Date(0);
    date.setUTCFullYear(Math.floor(index / 12), index % 12, day);
    return date.getTime() * 1e3;
  }

  function axisOf(first, last, x, y, tall) {
    let free = -Infinity;
    return ticks(first, last, Math.max(2, Math.floor(room() / 75))).flatMap(([at, words]) => {
      const place = x(at);
      const line = s("line", { x1: place, x2: place, y1: y, y2: y + tall, class: "esnb-timeline-tick" });
      const wide = words.length * 6.4;
      const left = Math.min(Math.max(GUTTER, place - wide / 2), width - wide - 2);
      if (left < free) return [line];
      free = left + wide + 8;
      return [line, s("text", { x: left, y: y + tall + 11, class: "esnb-faint" }, words)];
    });
  }

  // --- the overview -------------------------------------------------------------------------
  function drawOver() {
    if (!over?.total) { ui.fill(overview); return; }
    overview.setAttribute("width", width);
    let top = 1;
    for (const count of over.bars) top = Math.max(top, count);
    const height = (count) => (count ? Math.max(1.5, (count / top) * (OVER - 8)) : 0);
    const path = (counts) => {
      let d = "";
      counts.forEach((count, place) => {
        if (!count) return;
        const x = onOver(Math.max(over.from, over.at[place]));
        const wide = onOver(Math.min(over.to, over.at[place + 1])) - x;
        d += `M${x.toFixed(2)} ${OVER}v${-height(count).toFixed(2)}h${Math.max(1, wide - 0.6).toFixed(2)}V${OVER}z`;
      });
      return d;
    };
    ui.fill(overview,
      s("text", { x: 0, y: 14 }, `${number(over.total)} events`),
      over.chosen ? s("text", { x: 0, y: 30, class: "esnb-faint" }, `${number(over.picked)} in the choice`) : null,
      s("text", { x: 0, y: over.chosen ? 46 : 30, class: "esnb-faint" }, `1 bar = ${over.step}`),
      s("path", { d: path(over.bars), class: over.chosen ? "esnb-timeline-all" : "esnb-timeline-bar" }),
      over.chosen ? s("path", { d: path(over.chosen), class: "esnb-timeline-bar" }) : null,
      axisOf(over.from, over.to, onOver, OVER, 4),
      over.pins, over.brush);
    drawBrush();
  }

  const shade = [0, 1].map(() => s("rect", { y: 0, height: OVER, class: "esnb-timeline-shade" }));
  const frame = s("rect", { y: 0.5, height: OVER - 1, class: "esnb-timeline-brush" });
  const handles = [0, 1].map((end) => {
    const node = s("rect", {
      width: 8, y: OVER / 2 - 14, height: 28, rx: 3, class: "esnb-timeline-handle", tabindex: 0,
      role: "slider", "aria-label": end ? "End of the window" : "Start of the window",
    });
    node.addEventListener("keydown", (key) => {
      const way = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[key.key];
      if (!way || key.shiftKey) return;
      key.preventDefault();
      key.stopPropagation();
      const now = [...(brush ?? [over.from, over.to])];
      now[end] += way * (over.to - over.from) / 160;
      if (now[0] < now[1]) move(now);
    });
    return node;
  });

  function drawBrush() {
    if (!over?.total) return;
    over.pins ??= s("g");
    over.brush ??= s("g", null, shade, frame, handles);
    if (!over.brush.isConnected) overview.append(over.pins, over.brush);
    const [a, b] = (brush ?? [over.from, over.to]).map((at) => Math.max(GUTTER, Math.min(width, onOver(at))));
    const narrow = Boolean(brush);
    shade[0].setAttribute("x", GUTTER);
    shade[0].setAttribute("width", narrow ? Math.max(0, a - GUTTER) : 0);
    shade[1].setAttribute("x", b);
    shade[1].setAttribute("width", narrow ? Math.max(0, width - b) : 0);
    frame.setAttribute("x", a);
    frame.setAttribute("width", Math.max(2, b - a));
    frame.setAttribute("opacity", narrow ? 1 : 0);
    handles.forEach((node, end) => {
      node.setAttribute("x", Math.max(GUTTER - 4, Math.min(width - 8, (end ? b : a) - 4)));
      const at = (brush ?? [over.from, over.to])[end];
      node.setAttribute("aria-valuetext", `${ui.instant(at, over.zone, "minute")} ${over.zone}`);
      node.setAttribute("aria-valuenow", Math.round((100 * (at - over.from)) / (over.to - over.from)));
    });
    ui.fill(over.pins, notes().map((one) => s("text", {
      x: onOver(one.at) - 5, y: 10, class: "esnb-timeline-pin",
    }, one.star ? "★" : "▾", s("title", null, ui.visible(one.text, 200)))));
  }

  /** Take a window that the user made: drawn at once, told to Python when the hand rests. */
  const tell = ui.settled(() => choose(brush), 150);
  function move(window) {
    const span = Math.max(10, window[1] - window[0]);
    brush = [Math.round(window[0]), Math.round(window[0] + span)];
    drawBrush();
    tell();
  }

  /** Ends that can be read: whole hours, minutes or seconds, as far as one sees a difference. */
  function round([first, last]) {
    const grain = [3600e6, 60e6, 1e6, 1e3].find((one) => one <= (last - first) / 200) ?? 1;
    return [Math.round(first / grain) * grain, Math.round(last / grain) * grain];
  }

  async function choose(window) {
    brush = window && round(window);
    drawBrush();
    await ask("window", { first: brush?.[0] ?? null, last: brush?.[1] ?? null });
  }

  let drag = null;
  overview.addEventListener("pointerdown", (press) => {
    if (!over?.total || press.button) return;
    const x = press.clientX - overview.getBoundingClientRect().left;
    if (x < GUTTER - 6) return;
    const [a, b] = brush ? brush.map(onOver) : [-99, -99];
    const end = handles.indexOf(press.target);
    const kind = end >= 0 && brush ? `end${end}`
      : brush && x > a + 3 && x < b - 3 ? "move" : "new";
    drag = { x, kind, brush, from: ofOver(x) };
    overview.setPointerCapture(press.pointerId);
  });
  overview.addEventListener("pointermove", (at) => {
    if (!drag) return;
    const x = at.clientX - overview.getBoundingClientRect().left;
    if (Math.abs(x - drag.x) < 3 && !drag.moved) return;
    drag.moved = true;
    const here = ofOver(x);
    if (drag.kind === "new") brush = [Math.min(drag.from, here), Math.max(drag.from, here)];
    else if (drag.kind === "move") {
      const by = here - drag.from;
      brush = drag.brush.map((end) => end + by);
    } else {
      const fixed = drag.brush[drag.kind === "end0" ? 1 : 0];
      brush = [Math.min(fixed, here), Math.max(fixed, here)];
    }
    drawBrush();
  });
  overview.addEventListener("pointerup", () => {
    if (drag?.moved) choose([brush[0], Math.max(brush[1], brush[0] + 10)]);
    drag = null;
  });
  overview.addEventListener("pointercancel", () => { if (drag) brush = drag.brush; drag = null; drawBrush(); });
  overview.addEventListener("dblclick", () => choose(null));

  // --- the lanes ----------------------------------------------------------------------------
  const style = (name) => getComputedStyle(piece.root).getPropertyValue(name).trim() || "#888";
  const look = (name) => {
    const place = Math.max(0, view.order.indexOf(name));
    return { color: COLORS[place % COLORS.length], shape: SHAPES[place % SHAPES.length] };
  };

  function shape(pen, kind, x, y, r) {
    pen.beginPath();
    if (kind === "circle") pen.arc(x, y, r, 0, 7);
    else if (kind === "square") pen.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
    else if (kind === "cross" || kind === "plus") {
      const d = kind === "cross" ? [[-r, -r, r, r], [-r, r, r, -r]] : [[-r, 0, r, 0], [0, -r, 0, r]];
      for (const [a, b, c, e] of d) { pen.moveTo(x + a, y + b); pen.lineTo(x + c, y + e); }
      pen.lineWidth = 2;
      pen.stroke();
      return;
    } else {
      const points = { up: [[0, -r], [r, r * 0.8], [-r, r * 0.8]], down: [[0, r], [r, -r * 0.8], [-r, -r * 0.8]],
        diamond: [[0, -r * 1.2], [r * 1.2, 0], [0, r * 1.2], [-r * 1.2, 0]] }[kind];
      points.forEach(([a, b], place) => (place ? pen.lineTo(x + a, y + b) : pen.moveTo(x + a, y + b)));
      pen.closePath();
    }
    pen.fill();
  }

  const glyph = (name) => {
    const node = h("canvas", { width: 28, height: 28, class: "esnb-timeline-glyph", "aria-hidden": "true" });
    const pen = node.getContext("2d");
    const { color, shape: kind } = look(name);
    pen.fillStyle = pen.strokeStyle = color;
    pen.scale(2, 2);
    shape(pen, kind, 7, 7, 4.5);
    return node;
  };

  function drawLabels() {
    const stream = view.by === "stream";
    ui.fill(labels, view.lanes.map(([name, count]) => h("div", { class: "esnb-timeline-label", role: "listitem" },
      name === null || stream ? null : glyph(name),
      h("button", {
        type: "button", class: "esnb-timeline-name", disabled: name === null,
        title: name === null ? null : ui.visible(name, 200),
        "aria-pressed": stream ? null : String(view.event_types.includes(name)),
        "aria-label": name === null ? null : `Only ${ui.visible(name, 200)}: ${number(count)} events`,
        onclick: () => ask("lane", { by: view.by, name }),
      }, name === null ? `other (${view.names - view.lanes.length + 1} types)` : ui.visible(name, 60)),
      h("span", { class: "esnb-timeline-count" }, number(count)))));
    const types = stream && view.types ? view.order.filter((name) => view.types.includes(name)) : [];
    ui.fill(legend, types.slice(0, 12).map((name) => h("span", null, glyph(name), ui.visible(name, 40))),
      types.length > 12 ? h("span", null, `and ${number(types.length - 12)} more types`) : null);
  }

  function drawLanes() {
    if (!view?.lanes?.length) return;
    const tall = view.lanes.length * ROW;
    const wide = room();
    const scale = globalThis.devicePixelRatio || 1;
    canvas.width = wide * scale;
    canvas.height = tall * scale;
    canvas.style.width = `${wide}px`;
    canvas.style.height = `${tall}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const line = style("--line");
    pen.fillStyle = line;
    for (let lane = 1; lane < view.lanes.length; lane += 1) pen.fillRect(0, lane * ROW - 0.5, wide, 0.5);
    if (view.dense) drawDensity(pen);
    else drawMarks(pen);
    const mark = (at, color, dash) => {
      const x = onLane(at);
      if (x < 0 || x > wide) return;
      pen.strokeStyle = color;
      pen.lineWidth = 1;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, tall);
      pen.stroke();
      pen.setLineDash([]);
    };
    for (const one of notes()) mark(one.at, style("--warm"), [2, 3]);
    if (spot !== null) mark(spot, style("--ink"), [4, 3]);
    if (event) mark(event[view.clock], style("--accent"), []);
    const [first, last] = ends();
    axis.setAttribute("width", width);
    ui.fill(axis, s("text", { x: 0, y: 14, class: "esnb-faint" }, `${view.clock}, ${view.zone}`),
      axisOf(first, last, (at) => GUTTER + onLane(at), 0, 5));
    canvas.setAttribute("aria-label", view.dense
      ? `Density of events in ${view.lanes.length} lanes`
      : `${number(view.count)} events in ${view.lanes.length} lanes; left and right arrow keys go from one to the next`);
  }

  function drawDensity(pen) {
    const { cells, density, most, begin, width: cell } = view;
    pen.fillStyle = style("--cool");
    for (let lane = 0; lane < view.lanes.length; lane += 1) {
      for (let place = 0; place < cells; place += 1) {
        const count = density[lane * cells + place];
        if (!count) continue;
        const x = onLane(Math.max(begin + place * cell, view.first));
        const to = onLane(Math.min(begin + (place + 1) * cell, view.last));
        pen.globalAlpha = 0.1 + 0.9 * Math.sqrt(count / most);
        pen.fillRect(x, lane * ROW + 3, Math.max(1, to - x + 0.3), ROW - 6);
      }
    }
    pen.globalAlpha = 1;
  }

  function drawMarks(pen) {
    const looks = view.types.map(look);
    const many = view.count > 3000;
    pen.globalAlpha = many ? 0.6 : 0.9;
    for (let place = 0; place < view.count; place += 1) {
      const { color, shape: kind } = looks[view.type[place]];
      pen.fillStyle = pen.strokeStyle = color;
      shape(pen, kind, onLane(view.time[place]), (view.lane[place] + 0.5) * ROW, many ? 3.2 : 4.5);
    }
    pen.globalAlpha = 1;
    const ring = (place, color) => {
      if (place < 0) return;
      pen.strokeStyle = color;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(onLane(view.time[place]), (view.lane[place] + 0.5) * ROW, 8, 0, 7);
      pen.stroke();
    };
    if (event) ring(view.position.indexOf(event.position), style("--accent"));
    if (hover !== null) ring(hover, style("--ink"));
  }

  /** The mark under the pointer, or -1. */
  function under(x, y) {
    const lane = Math.floor(y / ROW);
    let found = -1;
    let best = 9;
    // Marks are by time: only those near are looked at.
    const from = ofLane(x - 9);
    let low = ui.bisect(view.time, (time) => time < from);
    for (const to = ofLane(x + 9); low < view.count && view.time[low] <= to; low += 1) {
      if (view.lane[low] !== lane) continue;
      const away = Math.hypot(onLane(view.time[low]) - x, (lane + 0.5) * ROW - y);
      // The topmost of those in one place.
      if (away <= best) { best = away; found = low; }
    }
    return found;
  }

  const here = (at) => {
    const box = canvas.getBoundingClientRect();
    return [at.clientX - box.left, at.clientY - box.top];
  };
  canvas.addEventListener("pointermove", (at) => {
    if (!view?.lanes?.length) return;
    const [x, y] = here(at);
    const lane = view.lanes[Math.floor(y / ROW)];
    const before = hover;
    hover = null;
    let words = null;
    if (view.dense) {
      const place = Math.floor((ofLane(x) - view.begin) / view.width);
      const count = view.density[Math.floor(y / ROW) * view.cells + place];
      if (lane && place >= 0 && place < view.cells && count) {
        const fine = fineness(view.width * 100);
        words = [`${number(count)} × ${ui.visible(lane[0] ?? "other", 60)}`,
          `from ${ui.instant(view.begin + place * view.width, view.zone, fine)}, ${ui.span(view.width)}`];
      }
    } else {
      const place = under(x, y);
      if (place >= 0) {
        hover = place;
        const apart = view.other[place] - view.time[place];
        words = [ui.visible(view.types[view.type[place]], 80),
          `${ui.visible(view.streams[view.stream[place]], 80)} · revision ${number(view.revision[place])}`,
          `${view.clock} ${ui.instant(view.time[place], view.zone, "micro")}`,
          apart ? `${view.clock === "occurred" ? "recorded" : "occurred"} ${ui.span(Math.abs(apart))} ${apart > 0 ? "later" : "earlier"}` : "on both clocks"];
      }
    }
    tip.hidden = !words;
    if (words) {
      ui.fill(tip, words.map((one) => h("div", null, one)));
      const box = piece.root.getBoundingClientRect();
      const left = at.clientX - box.left + 12;
      tip.style.left = `${Math.max(4, Math.min(left, box.width - tip.offsetWidth - 8))}px`;
      tip.style.top = `${at.clientY - box.top + 14}px`;
    }
    if (hover !== before) drawLanes();
  });
  canvas.addEventListener("pointerleave", () => {
    tip.hidden = true;
    if (hover !== null) { hover = null; drawLanes(); }
  });
  canvas.addEventListener("click", (at) => {
    if (!view?.lanes?.length) return;
    const [x, y] = here(at);
    const place = view.dense ? -1 : under(x, y);
    if (place >= 0) pick(place);
    else { spot = Math.round(ofLane(x)); event = null; drawLanes(); told(); }
  });

  // --- the event that is looked at ----------------------------------------------------------
  // Drawn at once from what is in the page; the payload comes from Python.
  let picking = Promise.resolve();
  let open = 0;
  function pick(place) {
    spot = null;
    shown({
      position: view.position[place], event_type: view.types[view.type[place]],
      stream: view.streams[view.stream[place]], revision: view.revision[place], event_id: null,
      occurred: view.clock === "occurred" ? view.time[place] : view.other[place],
      recorded: view.clock === "occurred" ? view.other[place] : view.time[place],
    });
    open += 1;
    picking = fetched(view.position[place]).finally(() => { open -= 1; });
  }
  const fetched = newest(async (position) => {
    const found = await ask("pick", { position });
    if (found && event?.position === position) shown(found.event);
  });

  function shown(found) {
    event = found;
    drawLanes();
    told();
  }

  function told() {
    if (event) {
      ui.fill(chosen, h("strong", null, ui.visible(event.event_type, 100)), " ",
        `${ui.visible(event.stream, 100)} · revision ${number(event.revision)} · position ${number(event.position)}`,
        ` · occurred ${ui.instant(event.occurred, over.zone, "micro")}`,
        event.recorded === event.occurred ? "" : ` · recorded ${ui.instant(event.recorded, over.zone, "micro")}`,
        event.actor ? ` · by ${ui.visible(event.actor, 100)}` : "",
        h("code", { class: "esnb-timeline-data" }, ui.visible(event.data, 240)));
    } else if (spot !== null) {
      ui.fill(chosen, `${ui.instant(spot, over.zone)} ${over.zone}`,
        view?.dense ? ": single events show when the window is shorter (+)" : ": no event here");
    } else ui.fill(chosen);
  }

  /** Go to the next event in sight, or the one before. */
  function step(way) {
    if (!view?.lanes?.length) return;
    const from = event ? [event[view.clock], event.position]
      : spot !== null ? [spot, -1] : way === "next" ? [view.first - 1, -1] : [view.last + 1, -1];
    if (!view.dense && view.left_out === 0) {
      const sign = way === "next" ? 1 : -1;
      let place = sign > 0 ? 0 : view.count - 1;
      const beyond = (at) => (view.time[at] - from[0] || view.position[at] - from[1]) * sign > 0;
      while (place >= 0 && place < view.count && !beyond(place)) place += sign;
      if (place < 0 || place >= view.count) piece.status(`${way === "next" ? "last" : "first"} event in sight`);
      else pick(place);
      return;
    }
    far(from, way);
  }

  let going = false;
  async function far([time, position], way) {
    if (going) return;
    going = true;
    const found = await ask("step", { time, position, way });
    going = false;
    if (found?.end) piece.status(`${way === "next" ? "last" : "first"} event in sight`);
    else if (found) { spot = null; shown(found.event); }
  }

  function day(way) {
    if (!over?.total) return;
    if (!brush) move(way > 0 ? [over.from, over.from + DAY] : [over.to - DAY, over.to]);
    else move(brush.map((end) => end + way * DAY));
  }

  function zoom(factor) {
    if (!over?.total) return;
    const now = brush ?? [over.from, over.to];
    const at = event?.[over.clock] ?? spot;
    const middle = at !== null && at >= now[0] && at <= now[1] ? at : (now[0] + now[1]) / 2;
    const half = Math.max(5, ((now[1] - now[0]) * factor) / 2);
    const next = [middle - half, middle + half];
    if (next[0] <= over.from && next[1] >= over.to) choose(null);
    else move(next);
  }

  // --- notes --------------------------------------------------------------------------------
  const notes = () => model.get("settings").notes ?? [];
  const moment = () => {
    if (event) return { at: event[over.clock], event_id: event.event_id };
    if (spot !== null) return { at: spot, event_id: null };
    piece.status("choose an event or a moment first: click it, or press →");
    return null;
  };

  async function note() {
    await picking;
    const where = moment();
    if (!where) return;
    const text = h("input", { type: "text", maxlength: 500, size: 40, "aria-label": "Text of the note" });
    const close = () => { entry.hidden = true; piece.root.focus(); };
    const save = async () => {
      if (!text.value.trim()) { close(); return; }
      if (await ask("note", { ...where, text: text.value.trim(), star: false })) close();
    };
    text.addEventListener("keydown", (key) => {
      if (key.key === "Enter") save();
      else if (key.key === "Escape") close();
      else return;
      key.preventDefault();
      key.stopPropagation();
    });
    ui.fill(entry, h("span", null, `Note at ${ui.instant(where.at, over.zone)}:`), text,
      ui.button("Save", save), ui.button("Cancel", close));
    entry.hidden = false;
    text.focus();
  }

  async function star() {
    await picking;
    const where = moment();
    if (where) ask("note", { ...where, text: "", star: true });
  }

  function drawNotes() {
    const list = notes().map((one, place) => [one, place]).sort((a, b) => a[0].at - b[0].at);
    ui.fill(pins, list.map(([one, place]) => h("li", null,
      h("button", {
        type: "button", class: "esnb-button",
        "aria-label": `Go to ${ui.instant(one.at, over?.zone)}`,
        onclick: () => go(one),
      }, `${one.star ? "★" : "▾"} ${ui.instant(one.at, over?.zone)}`),
      h("span", null, ui.visible(one.text, 500)),
      h("button", {
        type: "button", class: "esnb-button", "aria-label": `Take away: ${ui.visible(one.text || "star", 60)}`,
        onclick: () => ask("unpin", { number: place }),
      }, "×"))));
  }

  async function go(one) {
    if (brush && (one.at < brush[0] || one.at >= brush[1])) {
      const half = (brush[1] - brush[0]) / 2;
      await choose([one.at - half, one.at + half]);
    }
    if (one.event_id) {
      const found = await ask("find", { event_id: one.event_id });
      if (found) { spot = null; shown(found.event); }
    } else { event = null; spot = one.at; drawLanes(); told(); }
  }

  // --- what Python says ---------------------------------------------------------------------
  const showOver = ui.latest(async () => {
    const found = await ask("overview");
    if (!found) return;
    over = found;
    if (found.total) {
      const [at, bars, picked] = found.buffers.map(numbers);
      // A log of one moment has an axis too.
      over = { ...found, at, bars, picked: found.chosen, chosen: picked,
        from: found.first, to: Math.max(found.last, found.first + 1000) };
    }
    none.hidden = Boolean(found.total);
    if (!found.total) none.textContent = "No events in this log yet.";
    for (const node of [scroll, axis, legend]) node.hidden = !found.total;
    clock.set(over.clock);
    drawOver();
    drawNotes();
  });

  const showView = ui.latest(async () => {
    const found = await ask("view", { cells: Math.max(20, Math.floor(room() / 3)) });
    if (!found) return;
    view = found;
    if (!drag) brush = found.window ? [found.window[0] ?? over?.from, found.window[1] ?? over?.to] : null;
    event = found.event;
    if (event) spot = null;
    hover = null;
    if (over?.total) {
      none.hidden = found.lanes.length > 0;
      none.textContent = "No events in this window, of these types and streams.";
      for (const node of [scroll, axis, legend]) node.hidden = !found.lanes.length;
    }
    if (found.lanes.length) {
      if (found.dense) view.density = numbers(found.buffers[0]);
      else {
        const [time, other, position, revision] = found.buffers.slice(0, 4).map(numbers);
        const [lane, type, stream] = found.buffers.slice(4).map(places);
        Object.assign(view, { time, other, position, revision, lane, type, stream });
      }
      view.order = order();
      drawLabels();
      drawLanes();
    }
    drawBrush();
    told();
    summary();
  });

  // A type keeps its colour and shape while windows change.
  const known = [];
  function order() {
    const names = view.by === "event_type" ? view.lanes.map(([name]) => name) : [...(view.types ?? [])].sort();
    for (const name of names) if (name !== null && !known.includes(name)) known.push(name);
    for (const name of view.types ?? []) if (!known.includes(name)) known.push(name);
    return known;
  }

  function summary() {
    if (!over?.total) { piece.status(`0 events, times in ${over?.zone ?? "UTC"}`); return; }
    const inSight = (view.lanes ?? []).reduce((sum, [, count]) => sum + count, 0);
    const words = [`${number(inSight)} of ${number(over.total)} events`];
    if (view.by === "stream") words.push(`${number(view.lanes.length)} of ${number(view.names)} streams${view.lanes.length < view.names ? ", those with most events" : ""}`);
    if (view.dense) words.push(`density, because they are more than 20,000 marks: the stronger the colour the more, ${number(view.most)} in ${ui.span(view.width)} at most`);
    if (brush) words.push(`window ${ui.instant(brush[0], over.zone, fineness(brush[1] - brush[0]))} to ${ui.instant(brush[1], over.zone, fineness(brush[1] - brush[0]))} (${ui.span(brush[1] - brush[0])})`);
    words.push(`by ${over.clock}_on, times in ${over.zone}`);
    piece.status(words.join("; "));
  }

  ui.hear(model, signal, "session", async ({ changed }) => {
    if (changed === "event_id") { if (!open && !going) detail(); return; }
    if (changed !== "window") await showOver();
    showView();
  });
  const detail = ui.latest(async () => {
    // The event may be out of sight: it is told all the same.
    const found = await ask("event");
    if (found) { if (found.event) spot = null; shown(found.event); }
  });
  const noted = () => { drawNotes(); drawBrush(); drawLanes(); lanes.set(model.get("settings").lanes ?? ""); };
  model.on("change:settings", noted);
  signal?.addEventListener("abort", () => model.off("change:settings", noted));

  piece.keys({
    ArrowLeft: () => step("before"), ArrowRight: () => step("next"),
    "Shift+ArrowLeft": () => day(-1), "Shift+ArrowRight": () => day(1),
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => choose(null),
    n: note, s: star,
  });
  ui.theme(() => { drawOver(); if (view?.lanes?.length) { drawLabels(); drawLanes(); } }, signal);

  let began = false;
  const sized = new ResizeObserver(() => {
    const wide = Math.floor(piece.body.clientWidth);
    if (!wide || wide === width) return;
    width = wide;
    if (!began) { began = true; showOver().then(showView); return; }
    drawOver();
    drawLanes();
    again();
  });
  const again = ui.settled(() => { if (view?.dense) showView(); }, 300);
  sized.observe(piece.body);
  signal?.addEventListener("abort", () => sized.disconnect());
}

/** Call `work` with the newest argument when the one before is done; a promise of the last. */
function newest(work) {
  let last = Promise.resolve();
  let wanted = null;
  return (value) => {
    wanted = value;
    last = last.then(() => (wanted === value ? work(value) : null));
    return last;
  };
}

const bytes = (data) => (data.buffer ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) : data);
const numbers = (data) => new Float64Array(bytes(data));
const places = (data) => new Uint32Array(bytes(data));
