// All aggregates at once: counts come once for every tick, so that moving the time asks nobody;
// where one lets go, the exact state is asked for.

const HIGH = 190; // of the chart
const LEFT = 52;
const FOOT = 18;
const APART = 9; // values that are drawn apart
const LABEL = 13; // pixels that a name in an area needs

export function render(ui, { model, el, signal }) {
  const { h, s, fill, visible } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Replay of all", label: "Replay of all aggregates",
    help: [["J or →", "next tick"], ["K or ←", "tick before"], ["Space", "play, stop"],
      ["Home, End", "first, last tick"], ["G", "go to a time"], ["Page ↑ ↓", "ten ticks"],
      ["Enter on a value", "only its aggregates"], ["Esc", "back to the notebook"]],
  });
  let told = null;
  let times = null;
  let counts = null; // of the first value at all ticks, of the second…
  let totals = null;
  let place = 0;
  let exact = null; // what was answered for the time at which one let go
  let kind = null; // [value] or null
  let timer = null;
  let speed = model.get("settings").speed;
  let asked = 0;

  // --- parts -----------------------------------------------------------------------------
  const playButton = ui.button("▶ Play", () => play(!timer), { "aria-pressed": "false" });
  const speeds = ui.choice("Speed", [["1", "1×"], ["10", "10×"]], speed, (name) => {
    speed = name;
    piece.ask("set", { changes: { speed } }).catch(piece.problem);
    drawStatus();
  });
  const byBox = h("select", { "aria-label": "Count by", onchange: () => open({ by: byBox.value }) });
  const everyBox = h("select", { "aria-label": "Ticks", onchange: () => open({ every: everyBox.value }) });
  const goBox = h("input", {
    type: "text", "aria-label": "Go to time", placeholder: "go to time (G)", size: "12",
    onkeydown: (event) => { if (event.key === "Enter") goTo(); },
  });
  piece.tools.append(playButton, speeds.node, h("label", null, "by ", byBox), h("label", null, "every ", everyBox), goBox);

  const chart = h("div", {
    class: "esnb-population-chart", role: "slider", tabindex: "0", "aria-label": "Time",
  });
  const summary = h("div", { class: "esnb-population-summary" });
  const list = h("tbody");
  const table = h("table", { class: "esnb-population-table", "aria-label": "Aggregates by value" },
    h("thead", null, h("tr", null, ["value", "", "count", "share", "since the tick before"].map((one) => h("th", { scope: "col" }, one)))), list);
  const rowsHead = h("div", { class: "esnb-population-rows-head" });
  const rows = h("div", { class: "esnb-population-rows", tabindex: "0", role: "region", "aria-label": "Aggregates at this time" });
  const below = h("div", { class: "esnb-population-below" },
    h("div", { class: "esnb-population-counts" }, table),
    h("div", { class: "esnb-population-states" }, rowsHead, rows));

  const label = (at) => (at < told.kinds.length ? visible(told.kinds[at], 60) : `other (${ui.number(told.rest)} values)`);
  const tone = (at) => (at < APART ? `esnb-type-${at}` : "esnb-type-rest");
  const many = () => told.kinds.length + (told.rest ? 1 : 0);
  const count = (at, tick) => counts[at * told.ticks + tick];
  const short = () => (/hour|minute|second/.test(told.every) ? "minute" : "day");
  const shown = () => exact?.at ?? times[place];

  // --- what is asked ---------------------------------------------------------------------
  const open = ui.latest(async (wanted) => {
    play(false);
    try { take(await piece.ask("cube", wanted)); piece.problem(null); } catch (error) {
      piece.problem(error);
      if (told) choices();
    }
  });

  const exactly = ui.latest(async (at, tell) => {
    const number = ++asked;
    rows.setAttribute("data-stale", "");
    try {
      const answer = await piece.ask("moment", { at, kind, tell });
      if (number !== asked) return;
      exact = answer;
      drawNow();
      drawCounts();
      drawRows();
      drawStatus();
    } catch (error) { piece.problem(error); }
  });
  // While it plays, the hand that went to a tick before has not come to rest.
  const rested = ui.settled(() => { if (timer === null) exactly(times[place], true); }, 220);

  async function goTo() {
    try {
      const { at } = await piece.ask("when", { text: goBox.value });
      piece.root.focus();
      play(false);
      to(before(at));
      exactly(at, true);
    } catch (error) { piece.problem(error); }
  }

  function take(answer) {
    told = answer;
    const [first, second] = answer.buffers.map((one) => (one.buffer
      ? one.buffer.slice(one.byteOffset, one.byteOffset + one.byteLength) : one));
    times = new Float64Array(first);
    counts = new Uint32Array(second);
    totals = new Float64Array(told.ticks);
    for (let at = 0; at < many(); at += 1) {
      for (let tick = 0; tick < told.ticks; tick += 1) totals[tick] += count(at, tick);
    }
    exact = null;
    kind = null;
    choices();
    if (!told.ticks) {
      piece.empty(`There is no ${visible(told.category, 60)} yet.`);
      piece.status(`times in ${visible(told.zone)}`);
      return;
    }
    if (!below.isConnected) fill(piece.body, summary, chart, below);
    makeRows();
    place = Math.min(place, told.ticks - 1); // there may be fewer than before
    drawChart();
    to(told.at === undefined ? told.ticks - 1 : before(told.at));
    exactly(told.at ?? times[place], false);
  }

  function choices() {
    const option = (chosen) => (one) => h("option", { value: one, selected: one === chosen }, visible(one, 40));
    fill(byBox, told.fields.map(option(told.by)));
    const steps = ["hour", "day", "week", "month", "year"];
    fill(everyBox, (steps.includes(told.every) ? steps : [told.every, ...steps]).map(option(told.every)));
    byBox.value = told.by;
    everyBox.value = told.every;
  }

  /** The last tick up to a time. */
  const before = (at) => Math.max(0, ui.bisect(times, (time) => time <= at) - 1);

  // --- moving ----------------------------------------------------------------------------
  let frame = null;
  /** Go to a tick; drawn at the next frame, however often the hand moves in between. */
  function to(tick) {
    const next = Math.max(0, Math.min(tick, told.ticks - 1));
    if (exact) { asked += 1; exact = null; rows.setAttribute("data-stale", ""); }
    place = next;
    frame ??= requestAnimationFrame(() => {
      frame = null;
      drawNow();
      drawCounts();
      drawStatus();
    });
  }
  const step = (by) => { play(false); to(place + by); rested(); };

  function play(on) {
    const played = timer !== null;
    clearInterval(timer);
    timer = null;
    if (on && told?.ticks) {
      if (place >= told.ticks - 1) to(0);
      timer = setInterval(() => {
        // At ten times the speed two ticks a frame are enough: nobody sees fifty of them.
        to(place + (speed === "10" ? 2 : 1));
        if (place >= told.ticks - 1) play(false);
      }, speed === "10" ? 40 : 200);
    } else if (played) rested();
    fill(playButton, timer ? "■ Stop" : "▶ Play");
    playButton.setAttribute("aria-pressed", String(Boolean(timer)));
    if (told?.ticks) drawStatus();
  }
  signal?.addEventListener("abort", () => { clearInterval(timer); cancelAnimationFrame(frame); });

  // --- the chart -------------------------------------------------------------------------
  let scale = null;
  let now = null;
  /** Where an area is high enough for its name, and best as far as that reaches; names never meet. */
  function roomFor(name, points, width, taken) {
    const half = 3.5 * name.length + 4;
    const meets = (x, y) => taken.some((one) =>
      Math.abs(one.x - x) < one.half + half && Math.abs(one.y - y) < LABEL);
    let best = null;
    points.forEach(([x, high, deep], at) => {
      const y = (high + deep) / 2;
      if (deep - high < LABEL || x - half < LEFT || x + half > width - 8 || meets(x, y)) return;
      let top = 0;
      let low = HIGH;
      for (const step of [-1, 1]) {
        for (let k = at; points[k]; k += step) {
          top = Math.max(top, points[k][1]);
          low = Math.min(low, points[k][2]);
          if (Math.abs(points[k][0] - x) > half) break;
        }
      }
      if (!best || low - top > best.free) best = { x, y, half, free: low - top };
    });
    return best;
  }
  function drawChart() {
    const width = Math.max(240, chart.clientWidth || 700);
    const high = HIGH - FOOT;
    const most = Math.max(1, ...totals);
    const from = times[0];
    const until = times[told.ticks - 1];
    const x = (at) => (until > from ? LEFT + ((width - LEFT - 8) * (at - from)) / (until - from) : (LEFT + width) / 2);
    const y = (n) => high - ((high - 8) * n) / most;
    scale = { x, time: (px) => from + ((px - LEFT) / (width - LEFT - 8)) * (until - from), width };
    // No more points than pixels: of those on one pixel the last is drawn.
    const drawn = [];
    let last = -1;
    for (let tick = told.ticks - 1; tick >= 0; tick -= 1) {
      const px = Math.round(x(times[tick]));
      if (px !== last) drawn.push(tick);
      last = px;
    }
    drawn.reverse();
    const base = new Float64Array(told.ticks);
    const areas = [];
    const labels = [];
    const spots = [];
    const apart = Math.min(APART, many());
    for (let at = 0; at < Math.min(many(), APART + 1); at += 1) {
      const rest = at === APART;
      const height = (tick) => {
        if (!rest) return count(at, tick);
        let sum = 0;
        for (let other = APART; other < many(); other += 1) sum += count(other, tick);
        return sum;
      };
      let path = "";
      let back = "";
      const points = [];
      drawn.forEach((tick, k) => {
        const n = height(tick);
        const across = x(times[tick]);
        const px = across.toFixed(1);
        const low = y(base[tick]);
        const top = y(base[tick] + n);
        path += `${k ? "L" : "M"}${px} ${top.toFixed(1)}`;
        back = `L${px} ${low.toFixed(1)}${back}`;
        points.push([across, top, low]);
        base[tick] += n;
      });
      const words = rest ? `other (${ui.number(many() - APART + Math.max(0, told.rest - 1))})` : label(at);
      areas.push(s("path", { class: `esnb-population-area ${tone(at)}`, "data-kind": String(at), d: `${path}${back}Z` }, s("title", null, words)));
      const name = words.slice(0, 30);
      const spot = roomFor(name, points, width, spots);
      if (spot) spots.push(spot);
      if (spot) labels.push(s("text", { x: spot.x, y: spot.y + 4, "text-anchor": "middle", class: "esnb-population-label" }, name));
    }
    const grid = [0, 0.5, 1].map((share) => {
      const n = Math.round(most * share);
      return [s("line", { x1: LEFT, x2: width - 8, y1: y(n) + 0.5, y2: y(n) + 0.5, class: "esnb-population-grid" }),
        s("text", { x: LEFT - 6, y: y(n) + 4, "text-anchor": "end", class: "esnb-faint" }, ui.number(n))];
    });
    const ticks = width > 560 ? 5 : 3;
    const marks = Array.from({ length: ticks }, (_, k) => {
      const at = from + ((until - from) * k) / (ticks - 1);
      return s("text", {
        x: x(at), y: HIGH - 4, class: "esnb-faint",
        "text-anchor": k === 0 ? "start" : k === ticks - 1 ? "end" : "middle",
      }, ui.instant(Math.round(at), told.zone, short()));
    });
    now = s("g", { class: "esnb-population-now" }, s("path", { d: `M0 0v${high}` }), s("circle", { cx: 0, cy: high, r: 4.5 }));
    fill(chart, s("svg", { width, height: HIGH, "aria-hidden": "true" }, areas, grid, labels, until > from ? marks : marks[0], now));
    scale.drawn = drawn.length;
    scale.apart = apart;
    drawNow();
  }

  function drawNow() {
    const at = Math.max(times[0], Math.min(shown(), times[told.ticks - 1]));
    now?.setAttribute("transform", `translate(${scale.x(at)} 0)`);
    chart.setAttribute("aria-valuemin", "1");
    chart.setAttribute("aria-valuemax", String(told.ticks));
    chart.setAttribute("aria-valuenow", String(place + 1));
    chart.setAttribute("aria-valuetext", `${ui.instant(shown(), told.zone, "minute")}, ${ui.number(exact?.total ?? totals[place])} aggregates`);
  }

  let dragging = false;
  const reach = (event) => {
    const at = scale.time(event.clientX - chart.getBoundingClientRect().left);
    const first = before(at);
    const second = Math.min(first + 1, told.ticks - 1);
    to(Math.abs(times[second] - at) < Math.abs(times[first] - at) ? second : first);
  };
  chart.addEventListener("pointerdown", (event) => {
    if (!told?.ticks) return;
    play(false);
    dragging = true;
    chart.setPointerCapture(event.pointerId);
    reach(event);
  });
  chart.addEventListener("pointermove", (event) => { if (dragging) reach(event); });
  chart.addEventListener("pointerup", () => { if (dragging) { dragging = false; exactly(times[place], true); } });
  chart.addEventListener("pointercancel", () => { dragging = false; });
  const resized = new ResizeObserver(() => {
    if (told?.ticks && scale && Math.abs(chart.clientWidth - scale.width) > 1) drawChart();
  });
  resized.observe(chart);
  signal?.addEventListener("abort", () => resized.disconnect());

  // --- counts ----------------------------------------------------------------------------
  let lines = [];
  function makeRows() {
    lines = Array.from({ length: many() }, (_, at) => {
      const bar = h("i", { class: tone(at) });
      const parts = [h("td", { class: "esnb-population-bar" }, bar), h("td"), h("td"), h("td")];
      const rest = at >= told.kinds.length;
      const node = h("tr", {
        tabindex: rest ? null : "0", "aria-selected": "false", "data-kind": String(at),
        onclick: rest ? null : () => choose(at),
        onkeydown: rest ? null : (event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          event.stopPropagation();
          choose(at);
        },
        onpointerenter: () => light(at), onpointerleave: () => light(null),
        onfocus: () => light(at), onblur: () => light(null),
      }, h("th", { scope: "row" }, h("i", { class: `esnb-population-swatch ${tone(at)}` }), label(at)), parts);
      return { node, bar, cells: parts.slice(1) };
    });
    fill(list, lines.map((one) => one.node));
  }
  function light(at) {
    for (const area of chart.querySelectorAll(".esnb-population-area")) {
      area.toggleAttribute("data-dim", at !== null && Number(area.dataset.kind) !== Math.min(at, APART));
    }
  }
  function choose(at) {
    const value = told.kinds[at];
    kind = kind && kind[0] === value ? null : [value];
    lines.forEach((one, k) => one.node.setAttribute("aria-selected", String(Boolean(kind) && k < told.kinds.length && told.kinds[k] === kind[0])));
    exactly(shown(), false);
  }

  function drawCounts() {
    const known = exact ? new Map(exact.counts.map(([value, n]) => [value, n])) : null;
    const named = new Set(told.kinds);
    let sum = 0;
    const values = lines.map((_, at) => {
      let n = count(at, place);
      if (known) {
        if (at < told.kinds.length) n = known.get(told.kinds[at]) ?? 0;
        else n = exact.left_out + exact.counts.reduce((all, [value, one]) => all + (named.has(value) ? 0 : one), 0);
      }
      sum += n;
      return n;
    });
    const total = exact ? exact.total : sum;
    const most = Math.max(1, ...values);
    lines.forEach(({ bar, cells }, at) => {
      const change = values[at] - (place ? count(at, place - 1) : 0);
      bar.style.width = `${(100 * values[at]) / most}%`;
      cells[0].textContent = ui.number(values[at]);
      cells[1].textContent = total ? `${((100 * values[at]) / total).toFixed(1)} %` : "—";
      cells[2].textContent = change > 0 ? `▲ ${ui.number(change)}` : change < 0 ? `▼ ${ui.number(-change)}` : "·";
    });
    fill(summary, h("strong", null, ui.instant(shown(), told.zone, "minute")),
      ` ${ui.number(total)} ${visible(told.category, 60)} aggregates`,
      place ? h("span", { class: "esnb-population-faint" }, ` ${total >= totals[place - 1] ? "+" : "−"}${ui.number(Math.abs(total - totals[place - 1]))} since the tick before`) : "");
  }

  function drawRows() {
    rows.removeAttribute("data-stale");
    const part = exact.of ?? exact.total;
    const one = kind ? `${visible(told.by, 40)} ${visible(kind[0], 60)}` : visible(told.category, 60);
    fill(rowsHead,
      h("span", null, `${one}: ${exact.rows.length < part ? `some ${ui.number(exact.rows.length)} of ${ui.number(part)}` : ui.number(part)}`),
      ui.button(kind ? "Take these streams" : "Take all streams", takeThem, { disabled: !part }),
      kind ? ui.button("All values", () => { kind = null; lines.forEach((line) => line.node.setAttribute("aria-selected", "false")); exactly(exact.at, false); }) : null);
    if (!exact.rows.length) { fill(rows, h("p", { class: "esnb-empty" }, "None at this time.")); return; }
    const cell = (value, at) => (at === 3 ? ui.instant(value, told.zone, "minute") : visible(value, 80));
    fill(rows, h("table", { "aria-label": "Aggregates at this time" },
      h("thead", null, h("tr", null, exact.columns.map((name) => h("th", { scope: "col" }, visible(name, 40))))),
      h("tbody", null, exact.rows.map((row) => h("tr", null, row.map((value, at) => h("td", null, cell(value, at))))))));
  }

  async function takeThem() {
    try {
      const taken = await piece.ask("take", { at: exact.at, kind });
      piece.status(`${ui.number(taken.count)} streams ${taken.session ? "are now those of the session" : "are in .taken"}`);
    } catch (error) { piece.problem(error); }
  }

  function drawStatus() {
    const parts = [`tick ${ui.number(place + 1)} of ${ui.number(told.ticks)}, one every ${visible(told.every, 40)}`];
    if (timer) parts.push(`playing, ${speed === "10" ? 50 : 5} ticks a second`);
    parts.push(exact ? "exact" : "counts are exact at each tick");
    if (many() > APART + 1) parts.push(`${APART} of ${ui.number(told.kinds.length + told.rest)} values drawn apart`);
    if (told.rest) parts.push(`${ui.number(told.kinds.length)} of ${ui.number(told.kinds.length + told.rest)} values in the list`);
    if (scale && scale.drawn < told.ticks) parts.push(`the chart shows ${ui.number(scale.drawn)} of ${ui.number(told.ticks)} ticks`);
    parts.push(`as known then, times in ${visible(told.zone)}`);
    piece.status(parts.join(" · "));
  }

  // --- keys, session ---------------------------------------------------------------------
  const there = (work) => (event) => { if (told?.ticks) work(event); };
  piece.keys({
    j: there(() => step(1)), k: there(() => step(-1)),
    ArrowRight: there(() => step(1)), ArrowLeft: there(() => step(-1)),
    PageDown: there(() => step(10)), PageUp: there(() => step(-10)),
    Home: there(() => step(-told.ticks)), End: there(() => step(told.ticks)),
    g: () => goBox.focus(),
    " ": there((event) => {
      if (event.target.closest("button")) event.target.click();
      else play(!timer);
    }),
  });
  ui.hear(model, signal, "session", ui.latest(async () => {
    try {
      const { at } = await piece.ask("follow");
      if (at === null || !told?.ticks || exact?.at === at) return;
      play(false);
      to(before(at));
      exactly(at, false);
    } catch (error) { piece.problem(error); }
  }));
  open({});
}
