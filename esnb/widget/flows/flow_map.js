// The map of a flow: boxes and arrows where Python places them, and the choice of cases.

const NAMES = { wait: "Wait", count: "Transitions", cases: "Cases" };
const HELP = [
  ["↓ ↑", "Along an arrow, and back"], ["← →", "Next arrow or box beside"],
  ["Enter", "Which cases to look at"], ["[ ]", "Fewer or more arrows"],
  ["+ − 0", "Zoom, fit"], ["T", "Map or table"], ["Esc", "Leave"],
];

export function render(ui, context) {
  const { model, signal } = context;
  const { h, s, fill, visible } = ui;
  const piece = ui.frame(context, {
    title: "Flow map", label: "Flow map: which event comes after which", help: HELP,
  });
  const wanted = { ...model.get("settings") };
  const answers = new Map();
  let answer = null;
  let comparison = wanted.compare;
  let scale = null; // null: as wide as there is room
  let focused = null; // the box or arrow that has the focus, or had it before it was drawn anew
  let siblings = [];
  let quiet = false; // while the focus is given back: no details over a new map

  // --- tools --------------------------------------------------------------------------------

  const slider = h("input", {
    type: "range", min: "0", max: "100", step: "1", class: "esnb-map-slider",
    "aria-label": "Coverage: the part of all transitions that is shown",
    oninput: () => { wanted.coverage = Number(slider.value) / 100; told(); load(); },
    onchange: () => keep("coverage"),
  });
  const share = h("output", { class: "esnb-map-share" });
  const show = ui.choice("What colours and numbers say", Object.entries(NAMES), wanted.show,
    (name) => { wanted.show = name; keep("show"); load(); });
  const views = ui.choice("View", [["map", "Map"], ["table", "Table"]], wanted.view, look);
  const against = ui.button("Compare with before", () => {
    wanted.compare = wanted.compare ? null : comparison ?? "before";
    keep("compare");
    answers.clear();
    load();
  }, { "aria-pressed": "false", title: "The window against the time of the same length before it" });
  const zooms = h("span", { class: "esnb-choice esnb-map-zoom", role: "group", "aria-label": "Zoom" },
    ui.button("−", () => zoom(1 / 1.25), { "aria-label": "Zoom out" }),
    ui.button("+", () => zoom(1.25), { "aria-label": "Zoom in" }),
    ui.button("Fit", () => fit(true), { "aria-label": "Fit the whole map in" }));
  const narrowed = h("span", { class: "esnb-tools" });
  piece.tools.append(h("label", { class: "esnb-tools" }, "Coverage", slider, share),
    show.node, against, views.node, narrowed);

  const view = h("div", { class: "esnb-map-view" });
  const tip = h("div", { class: "esnb-map-tip", hidden: true, "aria-hidden": "true" });
  const legend = h("div", { class: "esnb-map-legend" });
  const wrapper = h("div", { class: "esnb-map-wrap" }, view, zooms, tip);
  piece.body.append(h("p", { class: "esnb-empty" }, "Reading the events…"));

  const keep = (name) => piece.ask("set", { changes: { [name]: wanted[name] } }).catch(piece.problem);

  function told() {
    slider.value = String(Math.round(wanted.coverage * 100));
    share.textContent = `${slider.value} %`;
    slider.setAttribute("aria-valuetext", `${slider.value} percent`);
    show.set(wanted.show);
    views.set(wanted.view);
    against.setAttribute("aria-pressed", String(Boolean(wanted.compare)));
    against.textContent = comparison && comparison !== "before" ? "Compare the windows" : "Compare with before";
    against.hidden = !wanted.compare && !comparison && !answer?.before;
    for (const node of show.node.children) node.disabled = Boolean(wanted.compare);
    zooms.hidden = wanted.view !== "map" || !answer?.placed;
  }

  // --- what Python says -----------------------------------------------------------------------

  const load = ui.latest(async () => {
    const key = `${wanted.coverage} ${wanted.show}`;
    try {
      let found = answers.get(key);
      if (!found) {
        found = await piece.ask("map", { coverage: wanted.coverage, show: wanted.show });
        answers.set(key, found);
      }
      focused = carried(focused, answer, found);
      answer = found;
      piece.problem(null);
      draw();
    } catch (error) { piece.problem(error); }
    told();
  });

  /** What had the focus, by its number in another map; or the start. */
  function carried(key, before, now) {
    if (!key || !before?.boxes || !now.boxes) return null;
    const number = Number(key.slice(1));
    if (key[0] === "b") {
      if (number < 2) return key;
      const place = now.boxes.findIndex((box) => box.id === before.boxes[number - 2].id);
      return place < 0 ? null : `b${place + 2}`;
    }
    const [source, target] = before.edges[number].ids;
    const place = now.edges.findIndex(({ ids }) => ids[0] === source && ids[1] === target);
    return place < 0 ? null : `e${place}`;
  }

  function draw() {
    // Where the focus is lost, keys go to the notebook.
    const had = piece.body.contains(document.activeElement);
    redraw();
    if (!had || piece.body.contains(document.activeElement)) return;
    quiet = true;
    (item(focused) ?? item("b0") ?? piece.body.querySelector(".esnb-grid-view") ?? piece.root)
      .focus({ preventScroll: true });
    quiet = false;
  }

  function redraw() {
    ui.chips(narrowed, answer.chips, () => piece.ask("all").then(anew, piece.problem));
    hint(null);
    if (answer.empty) {
      piece.empty(answer.chips.length
        ? "No events of these cases in this window. Take back the choice above, or widen the window."
        : "No events in this window. Widen it, or choose other streams.");
      piece.status(`times in ${answer.zone}`);
      return;
    }
    if (wanted.view === "table") drawTable();
    else if (answer.placed) drawMap();
    else drawMatrix();
    piece.status([...answer.said, wanted.compare && `times in ${answer.zone}`]
      .filter(Boolean).join(" · "));
  }

  function anew() {
    answers.clear();
    return load();
  }

  function look(name) {
    wanted.view = name;
    keep("view");
    if (answer) draw();
    told();
  }

  // --- the map --------------------------------------------------------------------------------

  // Boxes by number: 0 is the start, 1 the end, as the arrows have them.
  const boxWords = (number) => (number < 2 ? ["start", "end"][number] : answer.boxes[number - 2].name);
  const edgeWords = (edge) => `${boxWords(edge.from)} → ${boxWords(edge.to)}`;
  const tipWords = (tips) => tips.map(([name, value]) => `${name} ${value}`).join(", ");
  const item = (key) => (view.isConnected ? view.querySelector(`[data-key="${key}"]`) : null);

  function drawMap() {
    const { width, height, margin, order } = answer.placed;
    const common = (key, label) => ({
      "data-key": key, tabindex: "-1", role: "button", "aria-haspopup": "menu", "aria-label": label,
      onfocus: (event) => { focused = key; if (!quiet) hint(key, event.currentTarget); },
      onblur: () => hint(null),
      onpointermove: (event) => hint(key, null, event),
      onpointerleave: () => hint(null),
      onclick: (event) => ask(key, event.clientX, event.clientY),
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") asked(event, key); },
    });
    const edges = order.map((number) => {
      const edge = answer.edges[number];
      return s("g", {
        class: `esnb-map-edge esnb-tone-${edge.tone}`,
        ...common(`e${number}`, `From ${boxWords(edge.from)} to ${boxWords(edge.to)}: ${tipWords(edge.tips.slice(2))}`),
      },
      s("path", { class: "esnb-map-hit", d: edge.line, "stroke-width": Math.max(12, edge.stroke) }),
      s("path", { class: "esnb-map-line", d: edge.line, "stroke-width": edge.stroke }),
      s("path", { class: "esnb-map-head", d: edge.head }));
    });
    const labels = answer.edges.map((edge, number) => edge.label && s("text", {
      class: "esnb-map-label", x: edge.label[0], y: edge.label[1], "data-of": `e${number}`,
    }, edge.text));
    const boxes = answer.boxes.map((box, number) => s("g", {
      class: "esnb-map-box", ...common(`b${number + 2}`, `${box.name}, ${tipWords(box.tips.slice(1))}`),
    },
    s("rect", { x: box.x - box.width / 2, y: box.y - box.height / 2, width: box.width, height: box.height, rx: 7 }),
    [...box.lines, box.count].map((line, row) => s("text", {
      x: box.x, y: box.y - 7 * box.lines.length + 14 * row, class: row < box.lines.length ? null : "esnb-map-count",
    }, line))));
    const ends = answer.ends.map((end, number) => s("g", {
      class: "esnb-map-end", ...common(`b${number}`, end.text), role: "img", "aria-haspopup": null,
    },
    number ? s("rect", { x: end.x - 9, y: end.y - 9, width: 18, height: 18 })
      : s("circle", { cx: end.x, cy: end.y, r: 10 }),
    s("text", { x: end.word[0], y: end.word[1] }, end.text)));
    const svg = s("svg", {
      class: "esnb-map-svg", viewBox: `0 0 ${width} ${height}`, role: "group",
      "aria-label": `Map of ${answer.boxes.length} event types and ${answer.edges.length} arrows; the table says the same`,
    }, s("g", { transform: `translate(${margin} ${margin})` }, edges, boxes, ends,
      s("g", { "pointer-events": "none" }, labels)));
    fill(view, svg);
    fill(legend, h("span", null, `${answer.legend.title}:`), answer.legend.items.map(([tone, words]) =>
      h("span", { class: `esnb-map-tone esnb-tone-${tone}` }, h("i"), words)),
    h("span", { class: "esnb-map-note" }, wanted.compare ? "width: share of both sides" : "width: transitions"));
    fill(piece.body, wrapper, legend);
    (item(focused) ?? item("b0")).setAttribute("tabindex", "0");
    sized();
  }

  /** Say and show what is under the pointer, or has the focus. */
  function hint(key, node, event) {
    const svg = view.querySelector("svg");
    for (const near of view.querySelectorAll(".esnb-near")) near.classList.remove("esnb-near");
    svg?.classList.toggle("esnb-map-dim", Boolean(key));
    tip.hidden = !key;
    if (!key || !answer?.placed) return;
    const number = Number(key.slice(1));
    const near = (one) => {
      item(one)?.classList.add("esnb-near");
      view.querySelector(`[data-of="${one}"]`)?.classList.add("esnb-near");
    };
    near(key);
    if (key[0] === "e") {
      near(`b${answer.edges[number].from}`);
      near(`b${answer.edges[number].to}`);
    } else {
      answer.edges.forEach((edge, place) => {
        if (edge.from !== number && edge.to !== number) return;
        near(`e${place}`);
        near(`b${edge.from === number ? edge.to : edge.from}`);
      });
    }
    const tips = key[0] === "e" ? answer.edges[number].tips
      : number < 2 ? [["", answer.ends[number].text]] : answer.boxes[number - 2].tips;
    fill(tip, tips.map(([name, value]) => h("div", null, h("span", null, name), h("b", null, visible(value, 200)))));
    const area = wrapper.getBoundingClientRect();
    const at = node?.getBoundingClientRect();
    const x = (event ? event.clientX : at.left + at.width / 2) - area.left + 14;
    const y = (event ? event.clientY : at.bottom) - area.top + 14;
    tip.style.left = `${Math.max(2, x + tip.offsetWidth > area.width ? x - tip.offsetWidth - 28 : x)}px`;
    tip.style.top = `${Math.max(2, Math.min(y, area.height - tip.offsetHeight - 4))}px`;
  }

  function sized() {
    const svg = view.querySelector("svg");
    if (!svg) return;
    const { width, height } = answer.placed;
    const factor = scale ?? Math.min(1, Math.max(0.7, (view.clientWidth - 4) / width));
    svg.setAttribute("width", String(width * factor));
    svg.setAttribute("height", String(height * factor));
    svg.dataset.scale = factor.toFixed(3);
  }

  function zoom(by, event) {
    const svg = view.querySelector("svg");
    if (!svg) return;
    const before = Number(svg.dataset.scale);
    const area = view.getBoundingClientRect();
    const x = event ? event.clientX - area.left : area.width / 2;
    const y = event ? event.clientY - area.top : area.height / 2;
    scale = Math.min(4, Math.max(0.15, before * by));
    const [left, top] = [view.scrollLeft + x, view.scrollTop + y];
    sized();
    view.scrollLeft = (left * scale) / before - x;
    view.scrollTop = (top * scale) / before - y;
  }

  function fit() {
    const { width, height } = answer.placed;
    scale = Math.min(1.5, (view.clientWidth - 4) / width, (view.clientHeight - 4) / height);
    sized();
  }

  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !view.querySelector("svg")) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event);
  }, { passive: false });
  view.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("[data-key]") || !event.target.closest("svg")) return;
    const from = [event.clientX + view.scrollLeft, event.clientY + view.scrollTop];
    const move = (now) => { view.scrollLeft = from[0] - now.clientX; view.scrollTop = from[1] - now.clientY; };
    const up = () => {
      view.removeEventListener("pointermove", move);
      view.removeEventListener("pointerup", up);
      view.removeEventListener("pointercancel", up);
    };
    view.setPointerCapture(event.pointerId);
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerup", up);
    view.addEventListener("pointercancel", up);
  });
  const watch = new ResizeObserver(() => { if (scale === null && answer?.placed) sized(); });
  watch.observe(view);
  signal?.addEventListener("abort", () => watch.disconnect());

  // --- from box to arrow to box by keys -------------------------------------------------------

  const heaviest = (edges) => edges.sort((a, b) => answer.edges[b].weight - answer.edges[a].weight);
  const edgesOf = (side, number) => heaviest([...answer.edges.keys()]
    .filter((edge) => answer.edges[edge][side] === number));
  const placeOf = (number) => (number < 2 ? answer.ends[number] : answer.boxes[number - 2]);

  function go(key) {
    const node = item(key);
    if (!node) return;
    item(focused)?.setAttribute("tabindex", "-1");
    node.setAttribute("tabindex", "0");
    node.focus({ preventScroll: true });
    const at = node.getBoundingClientRect();
    const area = view.getBoundingClientRect();
    if (at.top < area.top + 20 || at.bottom > area.bottom - 20) view.scrollTop += (at.top + at.bottom - area.top - area.bottom) / 2;
    if (at.left < area.left || at.right > area.right) view.scrollLeft += (at.left + at.right - area.left - area.right) / 2;
  }

  function step(side, back) {
    if (!answer?.placed || wanted.view !== "map") return;
    if (!focused || !view.contains(document.activeElement)) { go(item(focused) ? focused : "b0"); return; }
    const number = Number(focused.slice(1));
    if (focused[0] === "e") { go(`b${answer.edges[number][back]}`); return; }
    siblings = edgesOf(side, number);
    if (siblings.length) go(`e${siblings[0]}`);
  }

  function beside(by) {
    if (!answer?.placed || wanted.view !== "map") return;
    if (!focused || !view.contains(document.activeElement)) { go(item(focused) ? focused : "b0"); return; }
    const number = Number(focused.slice(1));
    if (focused[0] === "e") {
      if (!siblings.includes(number)) siblings = edgesOf("from", answer.edges[number].from);
      const place = siblings.indexOf(number) + by;
      go(`e${siblings[(place + siblings.length) % siblings.length]}`);
      return;
    }
    const here = placeOf(number);
    const away = (other) => Math.abs(other.x - here.x) + 3 * Math.abs(other.y - here.y);
    const others = [...Array(answer.boxes.length + 2).keys()]
      .filter((one) => (placeOf(one).x - here.x) * by > 1)
      .sort((a, b) => away(placeOf(a)) - away(placeOf(b)));
    if (others.length) go(`b${others[0]}`);
  }

  const cover = (by) => {
    wanted.coverage = Math.min(1, Math.max(0, Math.round(wanted.coverage * 100 + by) / 100));
    told();
    load();
    kept();
  };
  const kept = ui.settled(() => keep("coverage"), 300);
  piece.keys({
    ArrowDown: () => step("from", "to"), ArrowUp: () => step("to", "from"),
    ArrowLeft: () => beside(-1), ArrowRight: () => beside(1),
    "[": () => cover(-5), "]": () => cover(5),
    "+": () => zoom(1.25), "-": () => zoom(1 / 1.25), 0: () => answer?.placed && fit(),
    t: () => look(wanted.view === "map" ? "table" : "map"),
  });

  // --- which cases to look at -----------------------------------------------------------------

  function asked(event, key) {
    event.preventDefault();
    event.stopPropagation();
    const at = event.currentTarget.getBoundingClientRect();
    ask(key, at.left + at.width / 2, at.top + at.height / 2);
  }

  function ask(key, x, y) {
    const number = Number(key.slice(1));
    if (key[0] === "b" && number < 2) return;
    const short = (one) => visible(boxWords(one), 40);
    let items;
    if (key[0] === "b") {
      const { id } = answer.boxes[number - 2];
      items = ["with", "without", "starting", "ending"].map((how) => [
        `Cases ${how}${how.endsWith("ing") ? " with" : ""} ${short(number)}`, { how, source: id },
      ]);
    } else {
      const { from, to, ids: [source, target] } = answer.edges[number];
      const along = `${short(from)} → ${short(to)}`;
      items = [
        [`Cases that go ${along}`, { how: "along", source, target }],
        [`Cases that never go ${along}`, { how: "never along", source, target }],
        from > 1 && to > 1 && [`Cases starting with ${short(from)}`, { how: "starting", source }],
        from > 1 && to > 1 && [`Cases ending with ${short(to)}`, { how: "ending", source: target }],
      ].filter(Boolean);
    }
    hint(null);
    ui.menu(piece.root, items.map(([words, given]) => [words, () => choose(given)]), x, y);
  }

  async function choose(given) {
    try {
      const { cases, words } = await piece.ask("choose", given);
      if (cases) await anew();
      else piece.problem(new Error(`No case is left with “${visible(words, 200)}”: nothing was chosen.`));
    } catch (error) { piece.problem(error); }
  }

  // --- the twins ------------------------------------------------------------------------------

  function drawTable() {
    const order = heaviest([...answer.edges.keys()]);
    const columns = answer.edges[0].tips.map(([name], place) => ({
      name, words: name, width: place < 2 ? 150 : Math.max(72, 7.5 * name.length + 24), right: place > 1,
      text: (row) => row.tips[place][1],
    }));
    const menuOf = (node) => {
      if (grid.chosen() < 0) return;
      const at = node.getBoundingClientRect();
      ask(`e${order[grid.chosen()]}`, at.left + 20, at.top + 12);
    };
    const grid = ui.grid({
      columns, count: order.length, height: 420, label: "Arrows of the map, the most frequent first",
      fetch: async (first, count) => order.slice(first, first + count).map((edge) => answer.edges[edge]),
      picked: () => { button.disabled = false; },
    });
    grid.node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      event.stopPropagation();
      menuOf(grid.node.querySelector('[aria-selected="true"]') ?? grid.node);
    }, true);
    grid.node.addEventListener("dblclick", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) menuOf(row);
    });
    const button = ui.button("Choose cases…", () => menuOf(button), {
      disabled: true, "aria-haspopup": "menu",
    });
    fill(piece.body, grid.node, h("div", { class: "esnb-map-legend" }, button,
      "Select an arrow; Enter or a double click asks which cases to look at."));
  }

  function drawMatrix() {
    const numbers = [...answer.boxes.keys()].map((place) => place + 2);
    const found = new Map(answer.edges.map((edge, place) => [`${edge.from} ${edge.to}`, place]));
    const cell = (from, to) => {
      const place = found.get(`${from} ${to}`);
      if (place === undefined) return h("td");
      const edge = answer.edges[place];
      return h("td", null, h("button", {
        type: "button", class: `esnb-map-cell esnb-tone-${edge.tone}`, "aria-haspopup": "menu",
        "aria-label": `From ${boxWords(from)} to ${boxWords(to)}: ${tipWords(edge.tips.slice(2))}`,
        title: tipWords(edge.tips),
        onclick: (event) => {
          const at = event.currentTarget.getBoundingClientRect();
          ask(`e${place}`, at.left + 10, at.bottom);
        },
      }, edge.text));
    };
    const word = (number) => visible(boxWords(number), 24);
    fill(view, h("table", { class: "esnb-map-matrix" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "from \\ to"),
        [...numbers, 1].map((to) => h("th", { scope: "col" }, word(to))))),
      h("tbody", null, [0, ...numbers].map((from) => h("tr", null,
        h("th", { scope: "row" }, word(from)), [...numbers, 1].map((to) => cell(from, to)))))));
    fill(legend, h("span", null, `${answer.legend.title}:`), answer.legend.items.map(([tone, words]) =>
      h("span", { class: `esnb-map-tone esnb-tone-${tone}` }, h("i"), words)),
    h("span", { class: "esnb-map-note" }, "a matrix: without pygraphviz nothing can be laid out"));
    fill(piece.body, wrapper, legend);
  }

  // --- what changes elsewhere -----------------------------------------------------------------

  ui.hear(model, signal, "session", () => { hint(null); anew(); });
  const changed = () => {
    const now = model.get("settings");
    const other = ["edges", "compare"].some((name) =>
      JSON.stringify(now[name]) !== JSON.stringify(wanted[name]));
    const same = Object.keys(now).every((name) =>
      JSON.stringify(now[name]) === JSON.stringify(wanted[name]));
    if (same) return;
    Object.assign(wanted, now);
    comparison = wanted.compare ?? comparison;
    if (other) answers.clear();
    load();
  };
  model.on("change:settings", changed);
  signal?.addEventListener("abort", () => model.off("change:settings", changed));
  told();
  load();
}
