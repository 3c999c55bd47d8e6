// Loads the code of a piece from the kernel, once a page for each version of it, so that
// neither a second table nor a saved notebook carries it again.
const modules = (globalThis.__esnb_modules ??= new Map());
let asked = 0;

function code(model, name) {
  return new Promise((resolve) => {
    const id = `code-${Date.now()}-${asked++}`;
    const hear = (message) => {
      if (message.id !== id) return;
      model.off("msg:custom", hear);
      resolve(message.code);
    };
    model.on("msg:custom", hear);
    model.send({ ask: "code", id, with: { name } });
  });
}

function load(model, name) {
  const key = `${name} ${model.get("versions")[name]}`;
  if (!modules.has(key)) {
    modules.set(key, code(model, name).then(async (text) => {
      const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      try { return await import(url); } finally { URL.revokeObjectURL(url); }
    }));
  }
  return modules.get(key);
}

export default {
  async render({ model, el, signal }) {
    el.textContent = "Waiting for the kernel…";
    const late = setTimeout(() => {
      el.textContent = "No answer from the kernel: start it and run this cell again.";
    }, 15000);
    const [ui, piece] = await Promise.all([load(model, "shared"), load(model, model.get("piece"))]);
    clearTimeout(late);
    if (signal?.aborted) return;
    el.textContent = "";
    ui.style(model.get("versions").shared);
    return piece.render(ui, { model, el, signal });
  },
};
