"""Where the parts of a log stand in its folder, and what ``log.json`` says of it.

::

    log.json             format, identity, declared zone
    tail.sqlite          the newest events, stream heads
    events/recorded_month=2026-03/*.parquet    sealed segments
    manifest/000000000042.json                 which segments make the log
    derived/             indexes and caches, droppable at any time
    writer.lock  maintain.lock
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from esnb import instants
from esnb.errors import DamagedLogError, LogFormatError, LogNotFoundError
from esnb.log.files import put_if_absent, storage_errors

__all__ = ["FORMAT", "Identity", "Layout", "read_sealed", "sealed_json"]

FORMAT = 1


@dataclass(frozen=True)
class Layout:
    """The paths of a log."""

    root: Path

    @property
    def identity(self) -> Path:
        return self.root / "log.json"

    @property
    def tail(self) -> Path:
        return self.root / "tail.sqlite"

    @property
    def events(self) -> Path:
        return self.root / "events"

    @property
    def manifests(self) -> Path:
        return self.root / "manifest"

    @property
    def derived(self) -> Path:
        return self.root / "derived"

    @property
    def writer_lock(self) -> Path:
        return self.root / "writer.lock"

    @property
    def maintain_lock(self) -> Path:
        return self.root / "maintain.lock"

    def manifest(self, number: int) -> Path:
        return self.manifests / f"{number:012d}.json"

    def has_manifest(self, number: int) -> bool:
        """Tell whether there is a manifest of this number; asked at every append, hence lean."""
        return os.access(f"{self._manifest_folder}{number:012d}.json", os.F_OK)

    @cached_property
    def _manifest_folder(self) -> str:
        return f"{self.manifests}{os.sep}"


@dataclass(frozen=True)
class Identity:
    """What a log is: its format, its id, and the zone for times without one."""

    log_id: str
    zone: str | None
    created: str
    format: int = FORMAT

    @classmethod
    def new(cls, zone: str | None) -> Identity:
        if zone is not None:
            instants.zone(zone)
        return cls(str(uuid.uuid4()), zone, instants.iso(instants.now()))

    def write(self, layout: Layout) -> None:
        put_if_absent(
            layout.identity,
            sealed_json(
                {
                    "created": self.created,
                    "format": self.format,
                    "kind": "esnb event log",
                    "log_id": self.log_id,
                    "zone": self.zone,
                }
            ),
        )

    @classmethod
    def read(cls, layout: Layout) -> Identity:
        try:
            with storage_errors(layout.identity, "reading"):
                content = layout.identity.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise LogNotFoundError(
                f"there is no event log in {layout.root}. "
                "Create one with esnb.create(path), or check the path."
            ) from None
        fields = read_sealed(layout.identity, content)
        return cls(fields["log_id"], fields["zone"], fields["created"], fields["format"])


def sealed_json(fields: dict[str, Any]) -> bytes:
    """Return `fields` as JSON text that carries the SHA-256 of its other fields."""
    checksum = hashlib.sha256(_plain(fields)).hexdigest()
    return _plain(fields | {"checksum": checksum})


def read_sealed(path: Path, content: bytes) -> dict[str, Any]:
    """Read what `sealed_json` wrote.

    Raises
    ------
    LogFormatError
        If it is of a newer format.
    DamagedLogError
        If it was altered.
    """
    try:
        fields = json.loads(content)
        checksum = fields.pop("checksum")
        intact = hashlib.sha256(_plain(fields)).hexdigest() == checksum
        # Only the very bytes that were written count: a flip in white space is a flip.
        intact = intact and sealed_json(fields) == content
    except (ValueError, KeyError, TypeError, AttributeError):
        intact = False
    if not intact:
        raise DamagedLogError(path, "its content does not match its checksum")
    if fields["format"] != FORMAT:
        raise LogFormatError(
            f"{path}: the log has format {fields['format']}, this esnb knows format {FORMAT}. "
            "Install a newer esnb to open it; nothing was changed."
        )
    return dict(fields)


def _plain(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()
