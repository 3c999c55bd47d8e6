"""Every notebook runs from top to bottom, and again in the same kernel."""

import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from esnb.report.client import Client

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def twice(path: Path) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """Run a notebook, and again in the same kernel; return both with their outputs."""
    notebook = nbformat.read(path, as_version=4)
    cells = len(notebook.cells)
    notebook.cells.extend(nbformat.from_dict(cell) for cell in list(notebook.cells))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"run-{number}"
    with tempfile.TemporaryDirectory(prefix="esnb-") as sockets:
        # Sockets in the file system: no port that another test could take.  The folder
        # has a short name because a socket's may have about 100 letters.
        kernel = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        client = Client(
            notebook,
            config=Config({"KernelManager": kernel}),
            timeout=300,
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute()
    first, second = notebook.copy(), notebook.copy()
    first.cells, second.cells = notebook.cells[:cells], notebook.cells[cells:]
    return first, second


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return what each cell said in text, without what differs by nature."""
    return [
        [
            text
            for output in cell.get("outputs", [])
            if "application/vnd.jupyter.widget-view+json" not in output.get("data", {})
            # A bar that came, as work took long, and went has left nothing.
            and (text := output.get("text") or output.get("data", {}).get("text/plain", ""))
        ]
        for cell in notebook.cells
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_twice_in_one_kernel_and_says_the_same(path, project):
    first, second = twice(project / "notebooks" / path.name)
    assert shown(first) == shown(second)
    said = [output for cell in [*first.cells, *second.cells] for output in cell.get("outputs", [])]
    assert said
    assert [output["text"] for output in said if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_without_the_sample_log_says_how_to_make_it(path, tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    (folder / path.name).write_text(path.read_text())
    with pytest.raises(CellExecutionError, match="make install"):
        twice(folder / path.name)


@pytest.mark.parametrize("name", ["02_time_travel.ipynb", "03_flows.ipynb"])
def test_real_data_that_is_not_here_is_said_once_and_skipped(name, project, tmp_path, monkeypatch):
    monkeypatch.setenv("ESNB_SHARED_DATA", str(tmp_path / "nowhere"))
    notebook = nbformat.read(project / "notebooks" / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    start = next(place for place, cell in enumerate(code) if "ESNB_SHARED_DATA" in cell.source)
    notebook.cells = [code[0], *code[start:]]
    path = project / "notebooks" / "only_real_data.ipynb"
    nbformat.write(notebook, path)
    try:
        first, _ = twice(path)
    finally:
        path.unlink()
    said = shown(first)
    assert len(said) > 4
    assert said[1][0].startswith("Skipped: no folder")
    assert [text for cell in said[2:] for text in cell] == []


def test_the_sample_log_is_the_same_each_time(project, tmp_path):
    script = Path(__file__).parents[2] / "data" / "generate_shop.py"
    subprocess.run([sys.executable, script, tmp_path / "shop"], check=True, timeout=300)
    import esnb

    with esnb.open(tmp_path / "shop") as again, esnb.open(project / "data" / "shop") as first:
        assert again.events().to_arrow_table().equals(first.events().to_arrow_table())
        assert 40_000 <= first.next_position <= 60_000


def test_the_sample_log_has_in_it_what_it_says(project):
    import esnb

    with esnb.open(project / "data" / "shop", read_only=True) as log:
        assert log.categories() == ["customer", "order", "payment", "product", "shipment"]
        found = log.sql("""
            select count(*) filter (recorded_on < occurred_on) as impossible,
                   count(*) filter (recorded_on - occurred_on > interval 10 days) as very_late,
                   count(distinct event_type) as types,
                   count(*) filter (schema_version = 2) as second_versions,
                   count(*) filter (actor = 'r.voss' and hour(occurred_on) not between 6 and 20)
                       as at_night
            from events""").to_arrow_table()
        [row] = found.to_pylist()
        assert row["impossible"] == 0
        assert row["very_late"] > 50
        assert row["types"] == 29
        assert row["second_versions"] > 1_000
        assert row["at_night"] > 20
        ties = log.sql(
            "select count(*) from (select recorded_on from events group by all having count(*) > 1)"
        ).fetchone()
        assert ties[0] > 1_000
        states = log.timeline("order").as_of("2026-04-01").aggregate("status").fetchall()
        assert {status for (status,) in states} == {
            "placed", "confirmed", "paid", "payment failed", "shipped", "delivered",
            "cancelled", "refunded",
        }  # fmt: skip
