// Variants: rows of steps, of which one chooses the cases.

const COLUMNS = [
  ["cases", "Cases"], ["length", "Steps"], ["median_duration", "Median"],
  ["first_seen", "First seen"], ["last_seen", "Last seen"],
];
const HELP = [["↓ ↑", "Row"], ["Enter", "Choose its cases, or give them back"], ["W", "Whole or short words"],
  ["Esc", "Leave"]];
const MOST_CHIPS = 24;

export function render(ui, context) {
  const { model, signal } = context;
  const { h, fill, visible } = ui;
  const piece = ui.frame(context, { title: "Variants", label: "Variants: the ways that cases went", help: HELP });
  const wanted = { ...model.get("settings") };
  let answer = null;
  let here = 0;

  const words = ui.choice("Names of event types", [["whole", "Words"], ["short", "Short"]], wanted.words, (name) => {
    wanted.words = name;
    keep("words");
    draw();
  });
  // In the last line: the rows shall not move under the pointer that chooses one.
  const narrowed = h("span", { class: "esnb-tools" });
  const more = ui.button("Show more", () => {
    wanted.limit = Math.min(500, wanted.limit + 50);
    keep("limit").then(load);
  }, { hidden: true, class: "esnb-button esnb-variants-more" });
  piece.tools.append(words.node);
  piece.root.querySelector(".esnb-foot").prepend(narrowed);
  piece.body.append(h("p", { class: "esnb-empty" }, "Reading the events…"));
  const keep = (...names) => piece.ask("set", {
    changes: Object.fromEntries(names.map((name) => [name, wanted[name]])),
  }).catch(piece.problem);

  const load = ui.latest(async () => {
    try {
      answer = await piece.ask("rows");
      piece.problem(null);
      draw();
    } catch (error) { piece.problem(error); }
  });

  function sort(name) {
    wanted.descending = wanted.sort === name ? !wanted.descending : true;
    wanted.sort = name;
    keep("sort", "descending").then(load);
  }

  async function choose(row) {
    try {
      await piece.ask("choose", { variant: row.id });
      await load();
    } catch (error) { piece.problem(error); }
  }

  /** The steps with repeats put together: [type, times]. */
  function runs(steps) {
    const found = [];
    for (const type of steps) {
      if (found.length && found[found.length - 1][0] === type) found[found.length - 1][1] += 1;
      else found.push([type, 1]);
    }
    return found;
  }

  function chip([type, times]) {
    const { name, code, tone } = answer.types[type];
    const text = wanted.words === "short" ? code : visible(name, 28);
    return h("span", { class: `esnb-step esnb-type-${tone}`, title: name },
      text, times > 1 ? h("b", null, ` ×${times}`) : null);
  }

  function heading([name, text]) {
    const sorted = wanted.sort === name ? (wanted.descending ? "descending" : "ascending") : "none";
    return h("span", { role: "columnheader", "aria-sort": sorted, class: `esnb-variants-${name}` },
      h("button", { type: "button", class: "esnb-sort", onclick: () => sort(name) },
        text, sorted === "none" ? "" : wanted.descending ? " ↓" : " ↑"));
  }

  function line(row, place) {
    const steps = runs(row.steps);
    const shown = steps.slice(0, MOST_CHIPS);
    const left = row.length - shown.reduce((sum, [, times]) => sum + times, 0);
    const chosen = row.id === answer.chosen;
    return h("div", {
      class: "esnb-variants-row", role: "row", "aria-selected": String(chosen),
      tabindex: place === here ? "0" : "-1", "data-place": String(place),
      onclick: () => { here = place; choose(row); }, onfocus: () => { here = place; },
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        choose(row);
      },
    },
    h("span", { role: "gridcell", class: "esnb-variants-cases" },
      h("span", null, h("span", { class: "esnb-variants-mark" }, chosen ? "✓" : ""), ui.number(row.cases)),
      h("span", { class: "esnb-variants-bar", "aria-hidden": "true" },
        h("i", { style: { width: `${(100 * row.cases) / answer.most}%` } })),
      h("small", null, row.share)),
    h("span", { role: "gridcell", class: "esnb-variants-length" },
      h("small", null, ui.number(row.length))),
    h("span", { role: "gridcell", class: "esnb-variants-steps" }, shown.map(chip),
      left > 0 ? h("small", null, `+ ${ui.number(left)} more steps`) : null),
    h("span", { role: "gridcell", class: "esnb-variants-median_duration" }, ui.span(row.median)),
    h("span", { role: "gridcell", class: "esnb-variants-first_seen" }, ui.instant(row.first, answer.zone, "day")),
    h("span", { role: "gridcell", class: "esnb-variants-last_seen" }, ui.instant(row.last, answer.zone, "day")));
  }

  function draw() {
    // Where the focus is lost, keys go to the notebook.
    const had = piece.body.contains(document.activeElement);
    redraw();
    if (!had || piece.body.contains(document.activeElement)) return;
    (piece.body.querySelector(`[data-place="${here}"]`) ?? piece.root).focus({ preventScroll: true });
  }

  function redraw() {
    words.set(wanted.words);
    ui.chips(narrowed, answer.chips, () => piece.ask("all").then(load, piece.problem));
    if (!answer.rows.length) {
      piece.empty(answer.chips.length
        ? "No events of these cases in this window. Take back the choice above, or widen the window."
        : "No events in this window. Widen it, or choose other streams.");
      piece.status(`times in ${answer.zone}`);
      return;
    }
    answer.most = Math.max(...answer.rows.map((row) => row.cases));
    here = Math.min(here, answer.rows.length - 1);
    const old = piece.body.querySelector(".esnb-variants")?.scrollTop ?? 0;
    const used = [...new Set(answer.rows.flatMap((row) => row.steps))].sort((a, b) => a - b);
    const [cases, length, ...times] = COLUMNS;
    const table = h("div", { class: "esnb-variants", role: "grid", "aria-label": "Variants", "aria-rowcount": String(answer.variants) },
      h("div", { role: "row", class: "esnb-variants-row esnb-variants-head" },
        heading(cases), heading(length),
        h("span", { role: "columnheader", class: "esnb-variants-steps" }, "Way"), times.map(heading)),
      answer.rows.map(line));
    fill(piece.body, table, wanted.words === "short" ? h("div", { class: "esnb-map-legend" },
      used.map((type) => h("span", { class: "esnb-tools" }, chip([type, 1]), visible(answer.types[type].name, 60)))) : null,
    more);
    more.hidden = !answer.more;
    table.scrollTop = old;
    piece.status([answer.said, `by ${COLUMNS.find(([name]) => name === wanted.sort)[1].toLowerCase()}${wanted.descending ? "" : ", lowest first"}`,
      `times: ${answer.clock}, ${answer.zone}`].join(" · "));
  }

  function move(by) {
    const rows = piece.body.querySelectorAll("[data-place]");
    if (!rows.length) return;
    const inside = piece.body.contains(document.activeElement) && document.activeElement.dataset.place;
    const next = inside ? Math.max(0, Math.min(rows.length - 1, here + by)) : here;
    rows[here]?.setAttribute("tabindex", "-1");
    here = next;
    rows[here].setAttribute("tabindex", "0");
    rows[here].focus();
  }

  piece.keys({
    ArrowDown: () => move(1), ArrowUp: () => move(-1), Home: () => move(-Infinity), End: () => move(Infinity),
    w: () => { wanted.words = wanted.words === "whole" ? "short" : "whole"; keep("words"); if (answer) draw(); },
  });
  ui.hear(model, signal, "session", load);
  const changed = () => {
    const now = model.get("settings");
    if (Object.keys(now).every((name) => now[name] === wanted[name])) return;
    Object.assign(wanted, now);
    load();
  };
  model.on("change:settings", changed);
  signal?.addEventListener("abort", () => model.off("change:settings", changed));
  load();
}
