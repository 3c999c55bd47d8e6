// The query box: SQL is text here; Python lets it through its gate, and shows the answer beside.

export function render(ui, { model, el, signal }) {
  const { h, number } = ui;
  const piece = ui.frame({ model, el, signal }, {
    title: "Query", label: "Query in SQL",
    help: [["Shift+Enter", "run"], ["Ctrl+Enter", "run"], ["Esc", "leave the box, then the notebook's keys"]],
  });
  const text = h("textarea", {
    class: "esnb-query-text", rows: 6, spellcheck: "false", "aria-label": "SQL, one SELECT",
  });
  text.value = model.get("settings").text;
  const run = ui.button("Run", start);
  piece.tools.append(run);
  piece.body.append(text);
  const rest = "events is the whole log; $first and $last are the ends of the window";
  piece.status(rest);

  async function start() {
    run.disabled = true;
    piece.problem(null);
    piece.status("Running…");
    try {
      const found = await piece.ask("run", { text: text.value });
      piece.status(`${number(found.rows)} ${found.rows === 1 ? "row" : "rows"}, ${number(found.columns)} columns`
        + `${found.more ? ` (${found.more})` : ""}; log at position ${number(found.position)}; ${found.seconds.toFixed(2)} s`);
    } catch (error) {
      piece.problem(error);
      piece.status("No answer.");
    } finally { run.disabled = false; }
  }

  text.addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.shiftKey || key.ctrlKey || key.metaKey)) {
      key.preventDefault();
      key.stopPropagation();
      start();
    }
  });
  text.addEventListener("change", () => piece.ask("set", { changes: { text: text.value } }).catch(piece.problem));
  piece.keys({});
}
