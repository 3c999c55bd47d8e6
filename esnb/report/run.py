"""A notebook, run with parameters, as one HTML file that needs nothing: no kernel, no network.

``esnb report notebook.ipynb -p month=2026-01`` runs the notebook in a kernel of its own, where
widgets leave pictures and tables.  The file has no scripts and may not load anything; what cells
show is taken over as text, pictures, and HTML of which only harmless parts stay.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellExecutionError, DeadKernelError
from traitlets.config import Config

from esnb.errors import InputError, shown
from esnb.report.client import Client
from esnb.report.page import page
from esnb.report.parameters import with_parameters

__all__ = ["Ran", "report"]

# Asked when all is done: which logs the notebook had open, and how far they went.
_PROBE = """
def _esnb_logs():
    import gc, json, os
    from esnb.eventlog import EventLog
    found = {}
    for one in gc.get_objects():
        if issubclass(type(one), EventLog):
            try:
                found[os.path.relpath(one.path)] = one.next_position
            except Exception:
                pass
    print(json.dumps(found))
_esnb_logs()
"""


@dataclass
class Ran:
    """What became of a notebook.

    Attributes
    ----------
    path
        The file that was written.
    cells
        How many cells of code it has.
    error
        What stopped it, naming the cell; None if nothing did.
    logs
        Logs that it had open, and their positions at the end.
    """

    path: Path
    cells: int
    error: str | None = None
    logs: dict[str, int] = field(default_factory=dict)


def report(
    notebook: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, str] | None = None,
    *,
    code: bool = True,
) -> Ran:
    """Run a notebook with parameters and write what it shows as one HTML file.

    The notebook itself stays as it is.

    Parameters
    ----------
    notebook
        The file; it runs in its folder.
    output
        File to write; the notebook's name with ``.html``, in the present folder, by default.
    parameters
        New values by name, as text; see `with_parameters`.
    code
        Whether the code of the cells is in the file, folded.

    Returns
    -------
    Ran
        Where a cell failed, its `error` says which; the file is written up to there.

    Raises
    ------
    InputError
        If there is no such notebook, or no such parameter.
    """
    source = Path(notebook)
    if not source.is_file():
        raise InputError(f"there is no notebook {shown(str(notebook))}")
    content = source.read_bytes()
    try:
        made = nbformat.reads(content.decode(), as_version=4)  # type: ignore[no-untyped-call]
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError) as error:
        raise InputError(f"{shown(str(notebook))} is no notebook: {shown(str(error))}") from None
    target = Path(output) if output is not None else Path(f"{source.stem}.html")
    if target.is_dir():
        raise InputError(f"{target} is a folder; say the name of a file")
    if not target.absolute().parent.is_dir():
        raise InputError(f"there is no folder {target.absolute().parent}")
    taken = with_parameters(made, parameters or {})
    began, clock = datetime.now(UTC), time.monotonic()
    ran = Ran(target, sum(cell.cell_type == "code" for cell in made.cells))
    _run(made, source.absolute().parent, ran)
    facts = {
        "Notebook": f"{source.name} (SHA-256 {hashlib.sha256(content).hexdigest()[:16]}…)",
        "Run": f"{began:%Y-%m-%d %H:%M:%S} UTC, in {time.monotonic() - clock:.1f} s",
        **{f"Log {name}": f"up to position {at:,}" for name, at in ran.logs.items()},
    }
    _write(target, page(made, source.stem, taken, facts, ran.error, code=code))
    return ran


def _run(notebook: Any, folder: Path, ran: Ran) -> None:
    """Run all cells, up to one that fails, in a kernel without ports."""
    with tempfile.TemporaryDirectory(prefix="esnb-") as sockets:
        client = Client(
            notebook,
            # Files and not ports: nobody else can reach the kernel.
            config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
            timeout=None,
            resources={"metadata": {"path": str(folder)}},
            store_widget_state=False,
        )
        client.kernel_name = _kernel(notebook)
        number = 0
        try:
            with client.setup_kernel(env={**os.environ, "ESNB_STATIC": "1"}):
                try:
                    for place, cell in enumerate(notebook.cells):
                        if cell.cell_type != "code":
                            continue
                        cell.outputs, cell.execution_count = [], None
                        number += 1
                        client.execute_cell(cell, place)
                except CellExecutionError as error:
                    ran.error = f"cell {number}: {error.ename}: {error.evalue}"
                with suppress(CellExecutionError):
                    ran.logs = _logs(client, len(notebook.cells))
        except DeadKernelError:
            ran.error = f"cell {number}: the kernel died"
    for cell in notebook.cells:
        # What was not reached shows nothing, whatever was saved with it.
        if cell.cell_type == "code" and cell.execution_count is None:
            cell.outputs = [one for one in cell.outputs if one.output_type == "error"]


def _kernel(notebook: Any) -> str:
    from jupyter_client.kernelspec import KernelSpecManager

    name = notebook.metadata.get("kernelspec", {}).get("name", "python3")
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        return "python3"
    return str(name)


def _logs(client: Client, place: int) -> dict[str, int]:
    cell = nbformat.v4.new_code_cell(_PROBE)  # type: ignore[no-untyped-call]
    client.nb.cells.append(cell)
    try:
        client.execute_cell(cell, place)
    finally:
        client.nb.cells.remove(cell)
    text = "".join(one.text for one in cell.outputs if one.output_type == "stream")
    with suppress(ValueError):
        return dict(json.loads(text))
    return {}


def _write(target: Path, text: str) -> None:
    """Write a file whole or not at all."""
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8", errors="replace")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
