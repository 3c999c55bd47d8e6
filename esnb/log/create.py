"""Making a new log."""

from __future__ import annotations

from pathlib import Path

from esnb.errors import EsnbError, LogExistsError
from esnb.log import files, locks
from esnb.log.layout import Identity, Layout
from esnb.log.tail import Tail

__all__ = ["make"]

_PATIENCE = 60.0
_EMPTY_TAIL = 128 * 1024


def make(layout: Layout, zone: str | None) -> None:
    """Make an empty log in a new or empty folder.

    ``log.json`` comes last: until it is there the folder is no log, and a creation
    that was cut off can be repeated.
    """
    identity = Identity.new(zone)
    with files.storage_errors(layout.root, "creating the log"):
        _refuse_occupied(layout)
        layout.root.mkdir(parents=True, exist_ok=True)
        locks.refuse_network(layout.root)
        with locks.held(layout.writer_lock, _PATIENCE):
            _refuse_occupied(layout)
            for leftover in _tail_files(layout):
                leftover.unlink(missing_ok=True)
            for folder in (layout.events, layout.manifests):
                folder.mkdir(exist_ok=True)
            tail = Tail(layout.tail)
            try:
                tail.create()
            finally:
                tail.close()
            files.sync_folder(layout.root)
            files.sync_folder(layout.root.parent)
            identity.write(layout)


def _refuse_occupied(layout: Layout) -> None:
    """Raise `LogExistsError` unless there is nothing but what an earlier attempt left."""
    if layout.identity.exists():
        raise LogExistsError(f"a log is in {layout.root} already. Open it with esnb.open(path).")
    if layout.root.exists():
        ours = {layout.events.name, layout.manifests.name, layout.writer_lock.name}
        ours |= {path.name for path in _tail_files(layout)}
        found = {item.name for item in layout.root.iterdir()} - ours
        if any(not name.startswith(files.TEMPORARY) for name in found):
            raise LogExistsError(f"{layout.root} is not empty; choose a new folder")
        if _holds_events(layout):
            raise LogExistsError(
                f"{layout.root} holds the events of a log that has lost its log.json. "
                "Restore that file from a backup, or choose a new folder."
            )


def _holds_events(layout: Layout) -> bool:
    """Tell whether there is more than what a creation leaves that was cut off."""
    for folder in (layout.events, layout.manifests):
        if folder.is_dir() and any(folder.iterdir()):
            return True
    if not layout.tail.exists():
        return False
    try:
        tail = Tail(layout.tail)
        try:
            return tail.state().next_position > 0
        finally:
            tail.close()
    except EsnbError:
        # Half made, or damaged: the empty tables take a few pages, events take more.
        sizes = [path.stat().st_size for path in _tail_files(layout)[:2] if path.exists()]
        return sum(sizes) > _EMPTY_TAIL


def _tail_files(layout: Layout) -> list[Path]:
    name = layout.tail.name
    return [layout.root / f"{name}{end}" for end in ("", "-wal", "-shm", "-journal")]
