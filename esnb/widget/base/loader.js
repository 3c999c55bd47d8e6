// Loads the code of a piece from the kernel, once a page for each version of it, so that
// neither a second table nor a saved notebook carries it again.
const modules = (globalThis.__esnb_modules ??= new Map());
const PATIENCE = 5000; // milliseconds; a question can get lost, with a kernel or by a stop
let asked = 0;

function code(model, name) {
  return new Promise((resolve, reject) => {
    const begin = `code-${name}-`;
    const hear = (message) => {
      // An earlier question's answer is as good.
      if (!String(message.id).startsWith(begin) || !message.code) return;
      done();
      resolve(message.code);
    };
    const late = setTimeout(() => { done(); reject(new Error("no answer from the kernel")); }, PATIENCE);
    const done = () => { clearTimeout(late); model.off("msg:custom", hear); };
    model.on("msg:custom", hear);
    model.send({ ask: "code", id: `${begin}${Date.now()}-${asked++}`, with: { name } });
  });
}

async function load(model, name, wanted) {
  const key = `${name} ${model.get("versions")[name]}`;
  while (wanted()) {
    if (!modules.has(key)) {
      const coming = code(model, name).then(async (text) => {
        const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
        try { return await import(url); } finally { URL.revokeObjectURL(url); }
      });
      modules.set(key, coming);
      // Whoever waits asks again, by a model that may live while this one does not.
      coming.catch(() => modules.delete(key));
    }
    try { return await modules.get(key); } catch { /* asked again */ }
  }
  return null;
}

/** Whether there is a kernel behind this model: a saved notebook brings models without one. */
async function living(model) {
  try { return (await model.widget_manager.get_model(model.get("mark"))).comm_live !== false; } catch { return true; }
}

/** Leave the saved picture alone, where one stands beside this output. */
async function stepAside(el) {
  // What is rendered comes into the page later.
  while (!el.isConnected) await new Promise((resolve) => { setTimeout(resolve, 50); });
  const output = el.closest(".jp-OutputArea-child");
  if (output?.parentElement.querySelector(".esnb-fallback")) output.style.display = "none";
  else el.textContent = "This widget was left by a kernel that is gone: run the cell again.";
}

export default {
  async render({ model, el, signal }) {
    if (!(await living(model))) {
      stepAside(el);
      return undefined;
    }
    let gone = false;
    model.on("comm_live_update", async () => { gone = !(await living(model)); });
    const wanted = () => !gone && !signal?.aborted;
    el.textContent = "Waiting for the kernel…";
    const late = setTimeout(() => {
      el.textContent = "No answer from the kernel yet: it may be busy. Or start it, and run this cell again.";
    }, 15000);
    const [ui, piece] = await Promise.all([
      load(model, "shared", wanted), load(model, model.get("piece"), wanted),
    ]);
    clearTimeout(late);
    if (!ui || !piece) {
      el.textContent = "The kernel was restarted: run this cell again.";
      return undefined;
    }
    if (signal?.aborted) return undefined;
    el.textContent = "";
    ui.style(model.get("versions").shared);
    return piece.render(ui, { model, el, signal });
  },
};
