"""Files as blocks of plain bytes, with a guard against compression bombs."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from esnb.errors import SourceError

__all__ = ["Opened"]

_BLOCK = 1 << 20
# A log of machine-made lines packs 20 to 100 times; a bomb comes near deflate's 1,032.
MAX_RATIO = 250
FREE_BYTES = 16 << 20
MAX_BYTES = 256 << 30
MAX_LINE = 64 << 20
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile)


class Opened:
    """A file, or the one file in a zip, read block by block.

    Attributes
    ----------
    path
        The file on disk.
    name
        Name that tells the format: without ``.gz``, or that of the member of a zip.
    size
        Bytes on disk.
    consumed
        Bytes on disk read so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}. Check the path") from None
        if path.is_dir():
            raise SourceError(f"{path} is a folder; name one file in it")
        self.consumed = 0
        self._member: str | None = None
        name = path.name
        if name.lower().endswith(".gz"):
            name = name[:-3]
        elif name.lower().endswith(".zip"):
            self._member = name = self._only_member()
        self.name = name

    def blocks(self) -> Iterator[bytes]:
        """Yield the content.

        Raises
        ------
        SourceError
            If the file is cut short, damaged, or unpacks to far more than it should.
        """
        self.consumed = 0
        made = 0
        try:
            with open(self.path, "rb") as raw, self._unpacked(raw) as stream:
                packed = stream is not raw
                while block := stream.read(_BLOCK):
                    made += len(block)
                    self.consumed = raw.tell()
                    if packed:
                        self._check(made)
                    yield block
        except _DAMAGED as error:
            raise SourceError(
                f"{self.path} is damaged or cut short ({error}). Nothing was imported; "
                "fetch the file again"
            ) from None
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends."""
        rest: list[bytes] = []
        held = number = 0
        for block in self.blocks():
            parts = block.split(b"\n")
            last = parts.pop()
            if parts:
                parts[0] = b"".join([*rest, parts[0]])
                for part in parts:
                    yield part + b"\n"
                number += len(parts)
                rest, held = [], 0
            rest.append(last)
            held += len(last)
            if held > MAX_LINE:
                raise SourceError(
                    f"{self.path}, line {number + 1} is longer than {MAX_LINE >> 20} MiB: "
                    "this is no file of lines, or not one event per line"
                )
        if tail := b"".join(rest):
            yield tail

    def _unpacked(self, raw: IO[bytes]) -> IO[bytes]:
        if self._member is not None:
            return zipfile.ZipFile(raw).open(self._member)
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
        raw.seek(0)
        return raw

    def _only_member(self) -> str:
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = [item for item in archive.infolist() if not item.is_dir()]
        except (zipfile.BadZipFile, OSError) as error:
            raise SourceError(f"{self.path} is no readable zip file ({error})") from None
        if len(members) != 1:
            names = ", ".join(repr(item.filename) for item in members[:8])
            raise SourceError(
                f"{self.path} holds {len(members)} files ({names}); it must hold one. "
                "Unpack it and import them one by one"
            )
        if members[0].flag_bits & 1:
            raise SourceError(f"{self.path} is encrypted; unpack it first")
        return members[0].filename

    def _check(self, made: int) -> None:
        packed = max(min(self.consumed, self.size), 1)
        if made > MAX_BYTES or (made > FREE_BYTES and made > MAX_RATIO * packed):
            raise SourceError(
                f"{self.path} unpacks to more than {made >> 20} MiB from {packed:,} bytes, "
                "which looks like a compression bomb. Nothing was imported; if you trust the "
                "file, unpack it and import the plain one"
            )
