// A table of any length: only the rows in sight are in the page, and only texts.

const CELL = 300;
const LONG = 300; // pixels: a column that is wider than this can give way
let views = 0;

export function render(ui, { model, el, signal }) {
  const { h } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Table", label: "Table of rows",
    help: [["↑ ↓", "row before, after"], ["Home End", "first, last row"], ["/", "find"],
      ["D", "details of the row"], ["C", "copy the row"], ["Esc", "back to the notebook"]],
  });
  const settings = () => model.get("settings");
  const set = (changes) => piece.ask("set", { changes }).catch(piece.problem);
  const me = `view-${Date.now()}-${views++}`;
  let now = null; // what Python answered last
  let shown = null; // fields of the chosen row
  let details = true;

  // --- tools --------------------------------------------------------------------------------

  const where = h("select", { "aria-label": "Where to find", onchange: find });
  const sought = h("input", {
    type: "search", placeholder: "find…", "aria-label": "Find", size: "16",
    oninput: ui.settled(find, 300),
  });
  const again = ui.button("Read again", () => open(), { title: "Look for newer events" });
  const chooser = h("fieldset", { class: "esnb-table-chooser", hidden: true });
  const choose = ui.button("Columns", () => {
    chooser.hidden = !chooser.hidden;
    choose.setAttribute("aria-expanded", String(!chooser.hidden));
  }, { "aria-expanded": "false" });
  piece.tools.append(where, sought, choose, again);

  function find() {
    const changes = { find: sought.value, find_in: where.value || null };
    const before = settings();
    if (changes.find === before.find && (changes.find_in === before.find_in || !changes.find)) {
      if (changes.find_in === before.find_in) return;
    }
    set(changes);
  }

  // --- parts --------------------------------------------------------------------------------

  const chips = h("div", { class: "esnb-tools esnb-table-chips" });
  const hollow = h("p", { class: "esnb-empty", hidden: true });
  const about = h("div", { class: "esnb-table-details", hidden: true, role: "region", "aria-label": "Details of the row" });
  const table = ui.grid({
    columns: [], count: 0, height: 300, label: "Rows",
    fetch: page, picked: (row, place) => look(place), head: sort,
  });
  piece.body.append(chooser, chips, table.node, hollow, about);

  async function page(first, count) {
    if (first === 0 && now.rows) return now.rows;
    const found = await piece.ask("page", { age: now.age, first, count }).catch((error) => {
      piece.problem(error);
      throw error;
    });
    if (found.stale) { open(); throw new Error("stale"); }
    return found.rows;
  }

  function sort(column) {
    const { sort: by, descending } = settings();
    if (by !== column.name) set({ sort: column.name, descending: false });
    else if (!descending) set({ descending: true });
    else set({ sort: null, descending: false });
  }

  /** As wide as most of the first rows need. */
  const pen = document.createElement("canvas").getContext("2d");
  function widths(columns, rows) {
    const { fontFamily, fontSize } = getComputedStyle(piece.root);
    const wide = (text, weight = 400) => {
      pen.font = `${weight} ${fontSize} ${fontFamily}`;
      return pen.measureText(text).width;
    };
    const found = columns.map(({ name }, place) => {
      const cells = rows.map((row) => wide(ui.visible(row[place] ?? "—", 80))).sort((a, b) => a - b);
      const longest = cells.at(-1) ?? 0;
      // Of long texts a few may be cut, of short ones none.
      const most = longest > LONG ? cells[Math.floor(0.95 * (cells.length - 1))] : longest;
      return Math.ceil(Math.min(420, Math.max(44, most, wide(`${ui.visible(name, 60)} ↓`, 600)) + 14));
    });
    // Where not all have room, long texts give way.
    const over = found.reduce((sum, one) => sum + one, 0) - (table.node.clientWidth - 2);
    const spare = found.reduce((sum, one) => sum + Math.max(0, one - LONG), 0);
    if (!table.node.clientWidth || over <= 0 || !spare) return found;
    return found.map((one) => one - Math.ceil(Math.max(0, one - LONG) * Math.min(1, over / spare)));
  }

  const open = ui.latest(async () => {
    try {
      const found = await piece.ask("open");
      if (signal.aborted) return;
      const same = now && now.age === found.age;
      now = found;
      const { sort: by, descending } = settings();
      if (!same) {
        const wide = widths(now.columns, now.rows);
        table.refresh({
          count: now.count,
          columns: now.columns.map((column, place) => ({
            ...column, words: ui.visible(column.name, 60), width: wide[place],
            sorted: column.name === by ? (descending ? "descending" : "ascending") : null,
            text: (row) => row[place],
          })),
        });
        show(null);
      }
      hollow.hidden = now.count > 0;
      hollow.textContent = now.total ? `No ${now.what} fulfil these conditions.` : `There are no ${now.what}.`;
      tools();
      status();
      if (now.place !== null) choosePlace(now.place);
    } catch (error) { piece.problem(error); }
  });

  function tools() {
    const { find: text, find_in: column, filters, columns } = settings();
    const kept = document.activeElement === where ? where.value : column ?? "";
    ui.fill(where, h("option", { value: "" }, "all columns shown"),
      now.all.map((name) => h("option", { value: name }, ui.visible(name, 40))));
    where.value = kept;
    if (document.activeElement !== sought) sought.value = text;
    again.hidden = now.what !== "events";
    chips.hidden = !filters.length && !now.where && !now.narrowed.length;
    ui.chips(chips, filters.map(([name, kind, value], place) => ({
      trait: place, words: `${name ?? "any column"} ${kind} ${value === null ? "missing" : ui.visible(value, 60)}`,
    })), (place) => set({ filters: filters.filter((_, other) => other !== place) }));
    for (const words of [...(now.where ? [`where ${now.where}`] : []), ...now.narrowed]) {
      chips.append(h("span", { class: "esnb-table-fixed" }, ui.visible(words, 120)));
    }
    const order = now.columns.map((one) => one.name);
    ui.fill(chooser, h("legend", null, "Columns to show"),
      now.all.map((name) => h("label", null, h("input", {
        type: "checkbox", checked: order.includes(name),
        onchange: (event) => {
          const next = event.target.checked ? [...order, name] : order.filter((one) => one !== name);
          if (next.length) set({ columns: next }); else event.target.checked = true;
        },
      }), ui.visible(name, 60))),
      ui.button("The usual ones", () => set({ columns: null }), { disabled: columns === null }));
  }

  function status() {
    const { sort: by, descending } = settings();
    const words = [`${ui.number(now.count)} of ${ui.number(now.total)} ${now.what}`];
    if (by !== null) words.push(`by ${ui.visible(by, 40)}, ${descending ? "descending" : "ascending"}`);
    const timed = now.what === "events" || now.columns.some(({ type }) => type.includes("TIME ZONE"));
    if (timed) words.push(`times in ${now.zone}`);
    words.push(`cells cut at ${CELL} characters, details are not`);
    if (now.columns.length < now.all.length) words.push(`${now.columns.length} of ${now.all.length} columns`);
    piece.status(words.join("; "));
  }

  // --- one row ------------------------------------------------------------------------------

  function choosePlace(place) {
    if (place === table.chosen()) return;
    table.select(place, false);
    look(place);
  }

  const look = ui.latest(async (place) => {
    try {
      const found = await piece.ask("row", { age: now.age, place, by: me });
      if (found.stale) open(); else show({ ...found, place });
    } catch (error) { piece.problem(error); }
  });

  function show(row) {
    shown = row;
    about.hidden = !row || !details;
    if (!row) return;
    const only = (name, kind) => piece.ask("filter", { age: now.age, place: row.place, column: name, kind })
      .then((answer) => answer.stale && open(), piece.problem);
    ui.fill(about,
      h("div", { class: "esnb-head" },
        h("strong", null, `Row ${ui.number(row.place + 1)} of ${ui.number(now.count)}`),
        h("span", { class: "esnb-grow" }),
        ui.button("Copy row", () => copy()),
        ui.button("Close", close)),
      h("dl", null, row.fields.map(({ name, text, length, tree }) => {
        const words = ui.visible(name, 60);
        return [
          h("dt", null, h("span", { class: words.length > 28 ? "esnb-table-long" : null }, words),
            ui.button("=", () => only(name, "is"), { "aria-label": `Only rows with this ${words}`, title: `Only rows with this ${words}` }),
            ui.button("≠", () => only(name, "is not"), { "aria-label": `Without rows with this ${words}`, title: `Without rows with this ${words}` })),
          h("dd", null, tree ? branch(tree) : ui.visible(text),
            text !== null && length > text.length && !tree
              ? h("em", null, ` … ${ui.number(length)} characters; Copy row has all of them`) : null),
        ];
      })));
  }

  /** A part of a JSON value; objects and lists in it can be closed. */
  function branch([key, kind, value], inner = false) {
    const label = inner ? h("span", { class: "esnb-table-key" }, `${ui.visible(key, 200)}: `) : null;
    if (kind === "more") return h("div", null, `… and ${ui.number(value)} more`);
    if (kind !== "object" && kind !== "list") {
      return h("div", null, label, kind === "text" ? `"${ui.visible(value)}"` : ui.visible(value));
    }
    if (!value.length) return h("div", null, label, kind === "list" ? "[]" : "{}");
    const size = kind === "list" ? `[${value.length}]` : `{${value.length}}`;
    return h("details", { open: true }, h("summary", null, label, size),
      value.map((child) => branch(child, true)));
  }

  function close() {
    details = false;
    about.hidden = true;
    table.focus();
  }

  async function copy() {
    if (!shown) return;
    try {
      const { text, stale } = await piece.ask("text", { age: now.age, place: shown.place });
      if (stale) { open(); return; }
      piece.status(await ui.clip(text) ? "The row was copied as JSON." : "The browser does not let us copy.");
    } catch (error) { piece.problem(error); }
  }

  // --- menus --------------------------------------------------------------------------------

  table.node.addEventListener("contextmenu", (event) => {
    const cell = event.target.closest(".esnb-cell");
    const row = event.target.closest("[data-place]");
    const column = cell && now?.columns[[...cell.parentNode.children].indexOf(cell)];
    if (!column) return;
    event.preventDefault();
    event.stopPropagation();
    const name = ui.visible(column.name, 40);
    const items = row ? [
      [`Only rows with this ${name}`, () => cellFilter(Number(row.dataset.place), column, "is")],
      [`Without rows with this ${name}`, () => cellFilter(Number(row.dataset.place), column, "is not")],
    ] : [
      [`Sort by ${name}, ascending`, () => set({ sort: column.name, descending: false })],
      [`Sort by ${name}, descending`, () => set({ sort: column.name, descending: true })],
      ["As they come", () => set({ sort: null, descending: false })],
      [`Find in ${name}`, () => { where.value = column.name; sought.focus(); find(); }],
      [`Hide ${name}`, () => {
        const rest = now.columns.map((one) => one.name).filter((one) => one !== column.name);
        if (rest.length) set({ columns: rest });
      }],
    ];
    const box = cell.getBoundingClientRect();
    ui.menu(piece.root, items, event.clientX || box.left, event.clientY || box.bottom);
  });

  const cellFilter = (place, column, kind) =>
    piece.ask("filter", { age: now.age, place, column: column.name, kind })
      .then((answer) => answer.stale && open(), piece.problem);

  piece.keys({
    "/": () => sought.focus(),
    c: copy,
    d: () => { details = !details; show(shown); },
  });
  sought.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "ArrowDown") { table.focus(); event.preventDefault(); }
  });
  const moved = ui.latest(async () => {
    const { age, place } = await piece.ask("place");
    if (place === null) { table.select(-1, false); show(null); } else if (age === now?.age) choosePlace(place);
  });
  ui.hear(model, signal, "session", ({ changed }) => (changed === "event_id" ? moved() : open()));
  ui.hear(model, signal, "chosen", ({ by }) => { if (by !== me) moved(); });
  model.on("change:settings", open);
  signal.addEventListener("abort", () => model.off("change:settings", open));
  open();
}
