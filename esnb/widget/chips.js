// The bar of a session.

export function render(ui, { model, el, signal }) {
  const piece = ui.frame({ model, el, signal }, { title: "Session", label: "What narrows the view" });
  const list = ui.h("div", { class: "esnb-tools" });
  piece.body.append(list);
  const show = ui.latest(async () => {
    try {
      const { chips, zone } = await piece.ask("chips");
      ui.chips(list, chips, clear);
      piece.status(chips.length ? `${chips.length} in force; times in ${zone}` : `everything; times in ${zone}`);
    } catch (error) { piece.problem(error); }
  });
  const clear = (trait) => piece.ask("clear", { trait }).catch(piece.problem);
  piece.tools.append(ui.button("Clear all", () => clear(null)));
  ui.hear(model, signal, "session", show);
  show();
}
