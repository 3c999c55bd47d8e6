// The difference of two states: the population, one aggregate, raw JSON.

const WORDS = { added: "+ added", removed: "\u2212 removed", changed: "~ changed" };
const CHANGES = Object.keys(WORDS);
const SIGNS = { "=": " ", "~": "~", "-": "\u2212", "+": "+" };
const HELP = [
  ["N", "next aggregate that differs"], ["P", "the one before"],
  ["U", "unified or side by side"], ["R", "raw JSON"], ["X", "export"], ["Esc", "back to the notebook"],
];

export function render(ui, { model, el, signal }) {
  const { h, fill, visible, number } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Difference", label: "Difference of two states", help: HELP,
  });
  const set = () => model.get("settings");
  let info = null; // what "open" said
  let list = { age: 0, count: 0 };
  let one = null; // the aggregate that is looked at
  let opened = ""; // A, B and clock as they were when they were asked for

  // --- A, B, clock ----------------------------------------------------------------------------

  const inputs = ["a", "b"].map((end) => h("input", {
    type: "text", class: "esnb-diff-end", "aria-label": `${end.toUpperCase()}: a time, a position, or TIME as of TIME`,
    title: "A time, a position, or TIME as of TIME; Enter takes it over", spellcheck: "false",
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); takeEnds(); } },
    onchange: () => takeEnds(),
  }));
  let written = ["", ""]; // what stood there before somebody typed
  const takeEnds = ui.latest(async () => {
    const [a, b] = inputs.map((input) => input.value);
    if (!info || (a === info.a && b === info.b)) return;
    try {
      await piece.ask("at", { a, b });
      written = [a, b];
      piece.problem(null);
      await open();
    } catch (error) { piece.problem(error); }
  });
  const clock = ui.choice("Clock", [["recorded", "as recorded"], ["occurred", "as it was true"]],
    set().clock, (name) => change({ clock: name }).then(open));
  const view = ui.choice("View", [["side", "side by side"], ["unified", "unified"]],
    set().view, (name) => { change({ view: name }); drawOne(); });
  const raw = ui.button("Raw JSON", () => toggleRaw(), { "aria-pressed": String(set().raw) });
  const out = ui.button("Export", () => exportMenu());
  // Of a log that has several categories.
  const category = h("select", {
    "aria-label": "Category", hidden: true,
    onchange: async () => {
      try {
        await piece.ask("of", { category: category.value });
        local = { ...local, field: null, change: null, stream: null };
        one = null;
        detail.hidden = true;
        await open();
      } catch (error) { piece.problem(error); category.value = info.category; }
    },
  });
  piece.tools.append(category, h("label", null, "A ", inputs[0]), h("label", null, "B ", inputs[1]), clock.node);
  const change = (changes) => {
    local = { ...local, ...changes };
    return piece.ask("set", { changes }).catch(piece.problem);
  };
  let local = { ...set() };

  // --- level 1 --------------------------------------------------------------------------------

  const summary = h("div", { class: "esnb-diff-summary" });
  const fields = h("div", { class: "esnb-diff-fields", role: "group", "aria-label": "Fields that differ" });
  const values = h("div", { class: "esnb-diff-values" });
  const detail = h("div", { class: "esnb-diff-one", "aria-live": "polite", hidden: true });
  const grid = ui.grid({
    columns: columns(), count: 0, height: 200, label: "Aggregates that differ",
    fetch: async (first, count) => (await piece.ask("rows", { age: list.age, first, count })).rows,
    picked: (row) => pick(row[0]),
  });
  const none = h("p", { class: "esnb-empty", hidden: true }, "");
  const main = h("div", { class: "esnb-diff-main" }, fields,
    h("div", { class: "esnb-diff-list" }, values, grid.node));
  piece.body.append(summary, none, main, detail);

  function columns() {
    const field = local.field;
    const start = [
      { name: "stream", width: 150, text: (row) => row[0] },
      { name: "change", width: 86, text: (row) => WORDS[row[1]] },
    ];
    if (field === null) {
      return [...start, { name: "fields", words: "differing fields", width: 120, right: true, text: (row) => String(row[2]) }];
    }
    const right = Boolean(list.numeric);
    const width = right ? 98 : 150;
    return [...start,
      { name: "before", width, right, text: (row) => row[3] },
      { name: "after", width, right, text: (row) => row[4] },
      ...(right ? [{ name: "difference", width: 100, right, text: (row) => signed(row[5]) }] : []),
    ];
  }

  let failed = false; // to open: another problem is not taken away by it
  const open = ui.latest(async () => {
    try {
      opened = ends();
      info = await piece.ask("open");
      if (failed) piece.problem(null);
      failed = false;
      drawHead();
      await relist();
      if (local.stream) await pick(local.stream, false);
    } catch (error) { failed = true; piece.problem(error); }
  });
  const ends = () => JSON.stringify([set().a, set().b, set().clock]);

  function drawHead() {
    const several = info.categories.length > 1;
    piece.root.querySelector(".esnb-title").textContent =
      several ? "Difference of" : `Difference of ${visible(info.category, 40)}`;
    category.hidden = !several;
    fill(category, info.categories.map((name) => h("option", { value: name }, visible(name, 40))));
    category.value = info.category;
    [info.a, info.b].forEach((words, end) => {
      // What is being typed stays.
      const typing = document.activeElement === inputs[end] && inputs[end].value !== written[end];
      if (!typing) inputs[end].value = words;
    });
    written = [info.a, info.b];
    clock.set(local.clock);
    clock.node.hidden = info.paired;
    const differing = CHANGES.reduce((sum, name) => sum + info.streams[name], 0);
    const chosen = local.change;
    fill(summary,
      h("span", { class: "esnb-diff-total" },
        `${number(differing)} of ${number(info.population)} differ`),
      h("span", { class: "esnb-choice", role: "group", "aria-label": "Kind of change" },
        [null, ...CHANGES].map((name) => h("button", {
          type: "button", class: `esnb-button${name ? ` esnb-diff-${name}` : ""}`,
          "aria-pressed": String(name === chosen), disabled: name !== null && !info.streams[name],
          onclick: () => choose({ change: name }),
        }, name ? `${WORDS[name]} ${number(info.streams[name])}` : "all"))),
      h("span", { class: "esnb-grow" }), h("span", { class: "esnb-tools" }, view.node, raw, out));
    none.hidden = differing > 0;
    main.hidden = differing === 0;
    if (!differing) {
      none.textContent = `Nothing differs between ${info.a} and ${info.b}, ${info.clock}.`;
      detail.hidden = true;
    }
    drawFields();
  }

  function drawFields() {
    const highest = Math.max(1, ...info.fields.map((row) => row[1] + row[2] + row[3]));
    const differing = CHANGES.reduce((sum, name) => sum + info.streams[name], 0);
    const any = ["any field", ...CHANGES.map((name) => info.streams[name])];
    fill(fields, [any, ...info.fields].map((row, place) => {
      const [name, ...counts] = row;
      const field = place ? name : null;
      const total = counts.reduce((sum, count) => sum + count, 0);
      const said = CHANGES.map((kind, i) => (counts[i] ? `${number(counts[i])} ${kind}` : null)).filter(Boolean);
      return h("button", {
        type: "button", class: "esnb-diff-field", "aria-pressed": String(field === local.field),
        "data-field": field, title: said.join(", "),
        "aria-label": `${visible(name, 60)}: ${said.join(", ") || "0"}`,
        onclick: () => choose({ field }, true),
      },
      h("span", { class: "esnb-diff-name" }, visible(name, 60)),
      h("span", { class: "esnb-diff-bar" }, counts.map((count, i) => h("span", {
        class: `esnb-diff-part esnb-diff-${CHANGES[i]}`,
        style: { width: `${(100 * count) / Math.max(highest, differing)}%` },
      }))),
      h("span", { class: "esnb-diff-count" }, number(total)));
    }));
  }

  async function choose(changes, tell = false) {
    local = { ...local, ...changes };
    drawHead();
    await relist();
    if (tell) piece.ask("choose", {}).catch(piece.problem);
  }

  let listing = 0; // lists asked for; of several only the last is shown
  let listed = 0;
  async function relist() {
    const mine = ++listing;
    try {
      const found = await piece.ask("list", { field: local.field, change: local.change });
      if (mine !== listing) return;
      list = found;
      grid.refresh({ count: list.count, columns: columns() });
      drawValues();
      say();
    } catch (error) { if (mine === listing) piece.problem(error); } finally { if (mine === listing) listed = mine; }
  }

  function drawValues() {
    values.hidden = !list.values.length;
    fill(values, list.values.map(([before, after, count]) => h("div", { class: "esnb-diff-value" },
      h("span", { class: "esnb-diff-text" }, visible(before, 40)), " → ",
      h("span", { class: "esnb-diff-text" }, visible(after, 40)),
      h("span", { class: "esnb-diff-count" }, number(count)))),
    list.more ? h("div", { class: "esnb-diff-value esnb-diff-faint" }, "and others, less often") : null);
  }

  function say(more = "") {
    const field = local.field === null ? "" : `, by ${visible(local.field, 40)}`;
    const order = list.numeric ? "largest difference first" : "most fields first";
    piece.status(`${number(list.count)} of ${number(info.population)} listed${field}, ${order}; `
      + `${info.clock}; times in ${info.zone}; log position ${number(info.position)}${more}`);
  }

  // --- level 2 and 3 --------------------------------------------------------------------------

  let wanted = null;
  async function pick(stream, tell = true) {
    wanted = stream;
    local.stream = stream;
    try {
      const found = await piece.ask("one", { stream });
      if (wanted !== stream) return;
      one = { ...found, raw: null };
      await drawOne();
      if (tell) tellStream(stream);
    } catch (error) { piece.problem(error); }
  }
  const tellStream = ui.settled((stream) =>
    piece.ask("choose", { stream }).catch(piece.problem), 250);

  async function drawOne() {
    view.set(local.view);
    raw.setAttribute("aria-pressed", String(local.raw));
    if (!one) return;
    if (local.raw && !one.raw) {
      const asked = one;
      try { asked.raw = await piece.ask("raw", { stream: asked.stream }); } catch (error) { piece.problem(error); return; }
      if (asked !== one) return;
    }
    const what = one.change ? WORDS[one.change]
      : one.there[0] || one.there[1] ? "no difference" : "not there on either side";
    fill(detail,
      h("div", { class: "esnb-head" },
        h("strong", { class: "esnb-diff-stream" }, visible(one.stream, 80)),
        h("span", { class: `esnb-diff-kind esnb-diff-${one.change ?? "none"}` }, what),
        h("span", { class: "esnb-grow" }),
        ui.button("← P", () => step(-1), { "aria-label": "Aggregate before" }),
        ui.button("N →", () => step(1), { "aria-label": "Next aggregate" })),
      one.rows.length ? (local.view === "side" ? sideBySide() : unified()) : null,
      one.left ? h("p", { class: "esnb-diff-faint" }, `and ${number(one.left)} more paths; export has them all`) : null,
      local.raw ? rawLines() : null);
    detail.hidden = false;
  }

  function caused(place) {
    const event = one.events[place];
    if (!event) return h("span", { class: "esnb-diff-faint" }, "no event of its own");
    const words = `${visible(event.type, 60)} by ${visible(event.actor ?? "nobody named", 40)}`;
    return h("span", null,
      h("button", {
        type: "button", class: "esnb-diff-event", "aria-label": `Look at the event ${words}`,
        onclick: () => piece.ask("event", { event_id: event.id }).catch(piece.problem),
      }, visible(event.type, 60)),
      h("span", { class: "esnb-diff-faint" },
        ` ${visible(event.actor ?? "nobody named", 40)} · ${ui.instant(event.time, info.zone)} · #${number(event.position)}`));
  }

  function sideBySide() {
    return h("table", { class: "esnb-diff-table" },
      h("thead", null, h("tr", null,
        ["path", "before (A)", "after (B)", "the event that did it"].map((words) => h("th", { scope: "col" }, words)))),
      h("tbody", null, one.rows.map(([path, before, after, place]) => h("tr", null,
        h("th", { scope: "row" }, visible(path, 120)),
        h("td", { class: "esnb-diff-old" }, visible(before)),
        h("td", { class: "esnb-diff-new" }, visible(after)),
        h("td", null, caused(place))))));
  }

  function unified() {
    return h("div", { class: "esnb-diff-unified" }, one.rows.map(([path, before, after, place]) => [
      h("div", { class: "esnb-diff-path" }, h("strong", null, visible(path, 120)), " ", caused(place)),
      before === null ? null : h("div", { class: "esnb-diff-line esnb-diff-old" }, `${SIGNS["-"]} ${visible(before)}`),
      after === null ? null : h("div", { class: "esnb-diff-line esnb-diff-new" }, `+ ${visible(after)}`),
    ]));
  }

  function rawLines() {
    // The indent of a line is ours; of the rest every sign is made visible.
    const code = (line) => (line === null ? "" : line.match(/^ */)[0].replaceAll(" ", "\u00a0\u00a0") + visible(line.trimStart()));
    const kind = { "-": " esnb-diff-old", "+": " esnb-diff-new" };
    const rows = one.raw.lines;
    const empty = h("p", { class: "esnb-diff-faint" }, "There is no state on either side.");
    const node = !rows.length ? empty : local.view === "side"
      ? h("div", { class: "esnb-diff-raw esnb-diff-two", role: "group", "aria-label": "Both states as JSON, side by side" },
        rows.map(([sign, before, after]) => [
          h("div", { class: `esnb-diff-line${before !== null && sign !== "=" ? kind["-"] : ""}` },
            before === null ? "" : `${sign === "=" ? " " : SIGNS["-"]} ${code(before)}`),
          h("div", { class: `esnb-diff-line${after !== null && sign !== "=" ? kind["+"] : ""}` },
            after === null ? "" : `${sign === "=" ? " " : "+"} ${code(after)}`),
        ]))
      : h("div", { class: "esnb-diff-raw", role: "group", "aria-label": "Both states as JSON, unified" },
        rows.map(([sign, before, after]) => sign === "="
          ? h("div", { class: "esnb-diff-line" }, `  ${code(before)}`)
          : [before === null ? null : h("div", { class: "esnb-diff-line esnb-diff-old" }, `${SIGNS["-"]} ${code(before)}`),
            after === null ? null : h("div", { class: "esnb-diff-line esnb-diff-new" }, `+ ${code(after)}`)]));
    return [node, one.raw.left ? h("p", { class: "esnb-diff-faint" }, `${number(one.raw.left)} more lines are left out`) : null];
  }

  // --- keys -----------------------------------------------------------------------------------

  const step = (by) => list.count && grid.select(grid.chosen() < 0 ? 0 : grid.chosen() + by);
  function toggleView() {
    change({ view: local.view === "side" ? "unified" : "side" });
    drawOne();
  }
  function toggleRaw() {
    change({ raw: !local.raw });
    drawOne();
  }
  function exportMenu() {
    const box = out.getBoundingClientRect();
    const items = [["csv", "CSV"], ["json", "JSON"]].flatMap(([kind, words]) => [
      [`All that is listed, as ${words}`, () => download(kind, null)],
      ...(one ? [[`${visible(one.stream, 40)} only, as ${words}`, () => download(kind, one.stream)]] : []),
    ]);
    ui.menu(piece.root, items, box.left, box.bottom + 2);
  }
  async function download(kind, stream) {
    try {
      const made = await piece.ask("export", { kind, stream });
      const url = URL.createObjectURL(new Blob([made.buffers[0]], { type: made.type }));
      const link = h("a", { href: url, download: made.name, hidden: true });
      piece.root.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
      say(`; ${made.name}: ${made.more ? "the first " : ""}${number(made.rows)} rows`);
    } catch (error) { piece.problem(error); }
  }
  piece.keys({
    n: () => step(1), p: () => step(-1), u: toggleView, r: toggleRaw, x: exportMenu,
  });

  // --- what Python says -----------------------------------------------------------------------

  const follow = ui.settled(() => {
    // Until a list has come, Python does not know yet what was chosen here.
    if (listed !== listing) { follow(); return; }
    const now = set();
    const before = local;
    local = { ...now };
    if (ends() !== opened) { open(); return; }
    if (now.field !== before.field || now.change !== before.change) choose({});
    if (now.stream !== before.stream && now.stream) pick(now.stream, false);
    else if (now.view !== before.view || now.raw !== before.raw) drawOne();
  }, 30);
  ui.hear(model, signal, "changed", follow);
  ui.hear(model, signal, "session", follow);
  const signed = (size) => (size === null || size === undefined ? "—"
    : `${size > 0 ? "+" : size < 0 ? "\u2212" : ""}${Math.abs(size).toLocaleString("en-US", { maximumFractionDigits: 6 })}`);
  open();
}
