"""Notebooks in a real JupyterLab, driven through Chromium.

Nothing outside this machine resolves in the browser, and whatever a page asks of
other hosts is noted and fails the test.  Without Chromium the tests are skipped,
in CI they fail.  With ``SCREENSHOTS=folder`` each test leaves its pictures there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect, sync_playwright

from tests import sample

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome") or ""
MISSING = (
    "browser tests need Chromium: apt-get install chromium fonts-dejavu-core, "
    "or set CHROMIUM to the path of one"
)
CHROMIUM_ARGS = [
    "--no-sandbox",  # for root, as in CI
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Routing requests through Python would do too, but switches the browser's cache off.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
]
HERE = {"127.0.0.1", "localhost"}
WIDTH, HEIGHT = 1100, 1500
SCREEN = HEIGHT - 150  # of the notebook; the rest is the lab around it
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SETTINGS = {
    # No question about news over the page, and every cell drawn, seen or not.
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class Lab:
    """A JupyterLab on a free port of this machine, with a home and settings of its own."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.root = root
        self.folder = folder
        self.token = secrets.token_hex(16)
        for name, value in SETTINGS.items():
            path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._log = folder / "lab.log"
        own = {
            "HOME": folder,
            "IPYTHONDIR": folder / "ipython",
            "JUPYTER_CONFIG_DIR": folder / "config",
            "JUPYTER_DATA_DIR": folder / "data",
            "JUPYTER_RUNTIME_DIR": folder / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        }
        arguments = [
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={root}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",  # window.jupyterapp
            "--LabApp.extension_manager=readonly",  # does not look for extensions
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *arguments],
                env={**os.environ, **{name: str(path) for name, path in own.items()}},
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                self.ask("status")
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self._process.kill()
                    raise RuntimeError(f"no JupyterLab:\n{self._log.read_text()}") from None
                time.sleep(0.1)
            else:
                return

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(  # noqa: S310 (our own address)
            f"{self.address}/api/{path}",
            method=method,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            body = answer.read()
        return json.loads(body) if body else None

    def end_sessions(self) -> None:
        """End the kernels: each holds 200 MB and more."""
        for session in self.ask("sessions"):
            with suppress(HTTPError):
                self.ask(f"sessions/{session['id']}", "DELETE")

    def stop(self) -> None:
        try:
            with suppress(OSError):
                self.end_sessions()
                self.ask("shutdown", "POST")
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class NotebookPage:
    """One notebook, open in the lab."""

    def __init__(self, context: BrowserContext, lab: Lab, pictures: Path | None) -> None:
        self._lab = lab
        self.pictures = pictures
        self.folder = lab.root
        self.page: Page = context.new_page()
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(error.stack or str(error)))
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        self.page.on("request", self._seen)

    def _seen(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in HERE:
            self.outside.append(request.url)

    def open(self, path: str) -> NotebookPage:
        # Of one workspace in two tabs the lab sends the second on to another, when it sees that.
        own = f"{self._lab.address}/lab/workspaces/{secrets.token_hex(4)}"
        self.page.goto(f"{own}?reset&token={self._lab.token}")
        self.page.wait_for_function("() => !!window.jupyterapp")
        # The command answers the notebook itself, so nobody has to guess which is current.
        self.page.evaluate(
            """async path => {
                 const app = window.jupyterapp;
                 await app.restored;
                 const nb = await app.commands.execute(
                   'docmanager:open', {path, factory: 'Notebook'});
                 await nb.revealed; await nb.context.ready; await nb.sessionContext.ready;
                 app.shell.activateById(nb.id);
                 app.shell.collapseLeft();
                 window.nb = nb;
               }""",
            path,
        )
        self.idle()
        return self

    def of(self, *cells: str, name: str = "made.ipynb") -> NotebookPage:
        """Open a notebook of these cells, which stands beside the others, and run it."""
        # Without the name of a kernel the lab asks for one.
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        made = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": kernel},
        )
        nbformat.write(made, self._lab.root / "notebooks" / name)
        return self.open(f"notebooks/{name}").run_all()

    def python(self, code: str) -> str:
        """Run code in the kernel, beside the cells, and return what it prints."""
        printed, error = self.page.evaluate(
            """async code => {
                 const kernel = window.nb.sessionContext.session.kernel;
                 const future = kernel.requestExecute({code, store_history: false});
                 let printed = '';
                 future.onIOPub = message => {
                   if (message.header.msg_type === 'stream') printed += message.content.text;
                 };
                 const reply = await future.done;
                 const told = reply.content;
                 return [printed, told.status === 'ok' ? '' : `${told.ename}: ${told.evalue}`];
               }""",
            code,
        )
        assert not error, error
        return str(printed).strip()

    def tells(self, code: str, wanted: str) -> None:
        """Wait until code in the kernel prints what is wanted: what the browser says takes time."""
        deadline = time.monotonic() + 30
        while (printed := self.python(code)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert printed == wanted

    def drag(self, locator: Locator, first: int, last: int, down: int) -> None:
        """Drag over an element once it stands still, between two places from its left edge."""
        # The pointer comes when what is around it has been drawn and does not move any more.
        locator.hover(position={"x": first, "y": down})
        box = locator.bounding_box()
        assert box is not None
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + last, box["y"] + down, steps=4)
        self.page.mouse.up()

    def idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(
            "() => window.nb.sessionContext.session?.kernel?.status === 'idle'", timeout=180_000
        )

    def run_all(self) -> NotebookPage:
        """Run every cell and wait for the last."""
        self.page.evaluate(
            """async () => {
                 window.jupyterapp.shell.activateById(window.nb.id);
                 await window.jupyterapp.commands.execute('notebook:run-all-cells');
               }"""
        )
        self.idle()
        return self

    def cells(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.evaluate(
            "() => window.nb.model.sharedModel.toJSON().cells"
        )
        return found

    def cell_errors(self) -> list[str]:
        return [
            f"cell {number}: {output['ename']}: {output['evalue']}"
            for number, cell in enumerate(self.cells())
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def theme(self, name: str) -> None:
        """Change to the "light" or "dark" theme, as a user does in the settings."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            THEMES[name],
        )
        self.page.wait_for_function(
            "light => document.body.dataset.jpThemeLight === light",
            arg=str(name == "light").lower(),
        )
        # The lab's curtain falls for a change: pictures would show it, and where the next change
        # comes before it is gone, the lab takes it away twice, which is an error.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def picture(self, name: str) -> None:
        """Leave pictures of the whole notebook, a screen each, if somebody wants to see them."""
        if self.pictures is None:
            return
        self.pictures.mkdir(parents=True, exist_ok=True)
        notebook = self.page.locator(".jp-WindowedPanel-outer").first
        screens = -(-notebook.evaluate("node => node.scrollHeight") // SCREEN)
        for number in range(screens):
            notebook.evaluate("(node, top) => node.scrollTo(0, top)", number * SCREEN)
            self.page.screenshot(path=self.pictures / f"{name}-{number:02d}.png")

    def part(self, locator: Locator, name: str) -> None:
        """Leave a picture of one element."""
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            locator.scroll_into_view_if_needed()
            locator.screenshot(path=self.pictures / f"{name}.png")


# Both end with the folder: Playwright's loop would be a running one to all tests that follow.
@pytest.fixture(scope="package")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not CHROMIUM:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    # A copy: what the notebooks write does not end up in the project.
    project = tmp_path_factory.mktemp("project")
    shutil.copytree(ROOT / "notebooks", project / "notebooks")
    sample.shop(project / "data" / "shop")
    server = Lab(tmp_path_factory.mktemp("lab"), project)
    yield server
    server.stop()


@pytest.fixture(scope="package")
def context(lab: Lab) -> Iterator[BrowserContext]:
    # How fast it is, benchmarks say; a busy machine is no error.
    expect.set_options(timeout=60_000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        # One for all tests: the lab's scripts stay in its cache.
        made = browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT}, accept_downloads=False
        )
        made.set_default_timeout(60_000)
        yield made
        browser.close()


@pytest.fixture
def notebook(context: BrowserContext, lab: Lab) -> Iterator[NotebookPage]:
    folder = os.environ.get("SCREENSHOTS")
    opened = NotebookPage(context, lab, Path(folder) if folder else None)
    yield opened
    opened.page.close(run_before_unload=False)
    lab.end_sessions()
    assert opened.outside == [], "the page asked for these"
