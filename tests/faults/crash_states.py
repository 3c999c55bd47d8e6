"""What a disk may hold after a power cut, from the trace of what a process did.

The model is that of ALICE (Pillai et al., OSDI 2014), and harsher than any journalling
file system:

- data written to a file, and its length, are sure only after an fsync of that file;
- a name made, changed or taken away is sure only after an fsync of its folder;
- of everything else any part may have reached the disk, in any order: each write whole,
  not at all, its first half, or as zeros; each name changed or not, and the two ends of a
  rename each by itself.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["State", "Step", "read_trace", "states"]

Step = dict[str, Any]
WRITE_WAYS = ("absent", "whole", "half", "zeros")
OTHER_WAYS = ("absent", "whole")
# SQLite makes its shared-memory index anew after a crash.
_VOLATILE = "-shm"


@dataclass(eq=False)
class File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    durable: dict[str, Node] = field(default_factory=dict)
    live: dict[str, Node] = field(default_factory=dict)
    pending: list[tuple[str, Node | None]] = field(default_factory=list)


Node = File | Folder
Item = tuple[Node, int]


class State(NamedTuple):
    """One content of the disk: files by path, folders, and what was acknowledged by then."""

    step: int
    notes: tuple[str, ...]
    files: dict[str, bytes]
    folders: tuple[str, ...]


def read_trace(path: Path, root: str, drop: str = "") -> list[Step]:
    """Read a trace; leave out every sync of what `drop` names (see `what_is_synced`)."""
    steps = []
    for line in path.read_text().splitlines():
        step = json.loads(line)
        step["path"] = step["path"].removeprefix(root).lstrip("/")
        if step["kind"] in ("fsync", "fdatasync") and what_is_synced(step["path"]) == drop:
            continue
        if step.get("to"):
            step["to"] = step["to"].removeprefix(root).lstrip("/")
        steps.append(step)
    return steps


SYNCED = (
    "the tail's journal",
    "the tail",
    "a segment",
    "a folder of segments",
    "the folder of months",
    "a manifest",
    "the folder of manifests",
    "log.json",
    "the log's folder",
    "the folder above",
)


def what_is_synced(path: str) -> str:
    """Return what a path below the root stands for, as one of SYNCED."""
    parts = path.split("/")[1:]
    if path == "" or path == ".":
        return "the folder above"
    if not parts:
        return "the log's folder"
    if parts[0] == "events":
        return ("the folder of months", "a folder of segments", "a segment")[len(parts) - 1]
    if parts[0] == "manifest":
        return "the folder of manifests" if len(parts) == 1 else "a manifest"
    if parts[0].endswith("-wal"):
        return "the tail's journal"
    return "the tail" if parts[0] == "tail.sqlite" else "log.json"


class Disk:
    """Follows a trace: what is sure to be on the disk, and what is not yet."""

    def __init__(self) -> None:
        self.root = Folder()
        self._open: dict[int, Node] = {}

    def do(self, step: Step) -> None:
        kind, path = step["kind"], step["path"]
        if step.get("result", 0) < 0:
            return
        if kind in ("create", "open", "truncopen"):
            node = self._find(path)
            if node is None and kind == "create":
                node = File()
                self._name(path, node)
            if node is not None:
                self._open[step["fd"]] = node
                if kind == "truncopen" and isinstance(node, File):
                    node.pending.append(("size", 0, b""))
        elif kind == "close":
            self._open.pop(step["fd"], None)
        elif kind in ("write", "ftruncate"):
            file = self._open[step["fd"]]
            assert isinstance(file, File)
            data = bytes.fromhex(step["data"])
            file.pending.append(("size" if kind == "ftruncate" else kind, step["offset"], data))
        elif kind in ("fsync", "fdatasync"):
            node = self._open[step["fd"]]
            for index in range(len(node.pending)):
                _apply(node, node.durable, index, "whole")
            node.pending.clear()
        elif kind == "mkdir":
            self._name(path, Folder())
        elif kind in ("rename", "link"):
            node = self._find(path)
            assert node is not None, step
            self._name(step["to"], node)
            if kind == "rename":
                self._name(path, None)
        elif kind in ("unlink", "rmdir"):
            self._name(path, None)
        elif kind != "fallocate":
            raise ValueError(f"the trace has a step that the model does not know: {kind}")

    def _find(self, path: str) -> Node | None:
        node: Node | None = self.root
        for part in Path(path).parts:
            if not isinstance(node, Folder):
                return None
            node = node.live.get(part)
        return node

    def _name(self, path: str, node: Node | None) -> None:
        place = Path(path)
        folder = self._find(str(place.parent))
        assert isinstance(folder, Folder), path
        if node is None:
            folder.live.pop(place.name)
        else:
            folder.live[place.name] = node
        if not place.name.endswith(_VOLATILE):
            folder.pending.append((place.name, node))

    def items(self) -> list[Item]:
        """Return everything that may or may not have reached the disk."""
        found: list[Item] = []
        seen: set[int] = set()
        queue: list[Node] = [self.root]
        while queue:
            node = queue.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            found += [(node, index) for index in range(len(node.pending))]
            if isinstance(node, Folder):
                named = [*node.durable.items(), *node.pending]
                queue += [n for name, n in named if n and not name.endswith(_VOLATILE)]
        return found

    def content(self, choice: dict[Item, str]) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Return files and folders when each item went the way that `choice` says."""
        files: dict[str, bytes] = {}
        folders: list[str] = []

        def visit(folder: Folder, prefix: str) -> None:
            entries = dict(folder.durable)
            for index in range(len(folder.pending)):
                _apply(folder, entries, index, choice.get((folder, index), "absent"))
            for name, node in entries.items():
                if isinstance(node, Folder):
                    folders.append(prefix + name)
                    visit(node, f"{prefix}{name}/")
                    continue
                content = bytearray(node.durable)
                for index in range(len(node.pending)):
                    _apply(node, content, index, choice.get((node, index), "absent"))
                files[prefix + name] = bytes(content)

        visit(self.root, "")
        return files, tuple(folders)


def _apply(node: Node, content: Any, index: int, way: str) -> None:
    if way == "absent":
        return
    if isinstance(node, Folder):
        name, target = node.pending[index]
        if target is None:
            content.pop(name, None)
        else:
            content[name] = target
        return
    kind, offset, data = node.pending[index]
    if kind == "size":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if way == "half":
        data = data[: len(data) // 2]
    elif way == "zeros":
        data = bytes(len(data))
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def states(
    steps: Sequence[Step], most: int, *, start: int = 0, between: bool = True, seed: int = 0
) -> Iterator[State]:
    """Yield the distinct states of the disk after a power cut anywhere in the trace.

    Before each sync, acknowledgement and at the end, where most is open, every
    combination is tried, or `most` of them where there are more: nothing, all, each item
    alone, each item missing, and then seeded random ones.  Elsewhere the state in
    which all went through in order is enough, for the others come again later.

    Parameters
    ----------
    start
        First step at which the power may fail.
    between
        Whether it may fail between two of those moments, too.
    """
    disk = Disk()
    notes: list[str] = []
    seen: set[bytes] = set()
    chance = random.Random(seed)
    for number, step in enumerate([*steps, {"kind": "note", "path": "end"}]):
        open_end = step["kind"] in ("fsync", "fdatasync", "note")
        if number >= start and (open_end or between):
            items = disk.items()
            choices = _choices(items, most, chance) if open_end else [dict.fromkeys(items, "whole")]
            for choice in choices:
                state = State(number, tuple(notes), *disk.content(choice))
                mark = _mark(state)
                if mark not in seen:
                    seen.add(mark)
                    yield state
        if step["kind"] == "note":
            notes.append(step["path"])
        else:
            disk.do(step)


def _choices(items: list[Item], most: int, chance: random.Random) -> Iterable[dict[Item, str]]:
    ways = [
        WRITE_WAYS if isinstance(node, File) and node.pending[index][0] == "write" else OTHER_WAYS
        for node, index in items
    ]
    count = 1
    for way in ways:
        count *= len(way)
        if count > most:
            break
    if count <= most:
        return [dict(zip(items, way, strict=True)) for way in itertools.product(*ways)]
    chosen: list[dict[Item, str]] = [{}, dict.fromkeys(items, "whole")]
    picked = items if 2 * len(items) < most else chance.sample(items, most // 4)
    chosen += [{item: "whole"} for item in picked]
    chosen += [{key: "whole" for key in items if key != item} for item in picked]
    while len(chosen) < most:
        chosen.append(dict(zip(items, (chance.choice(way) for way in ways), strict=True)))
    return chosen


def _mark(state: State) -> bytes:
    mark = hashlib.sha256(repr((state.notes, sorted(state.folders))).encode())
    for name in sorted(state.files):
        mark.update(f"\0{name}\0{len(state.files[name])}\0".encode())
        mark.update(state.files[name])
    return mark.digest()
