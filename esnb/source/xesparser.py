"""expat, made safe, which also counts the lines that did not go through it."""

from __future__ import annotations

from xml.parsers import expat

from esnb.errors import SourceError
from esnb.schema import MAX_PAYLOAD

__all__ = ["Parser"]

_PIECE = 1 << 20
# No attribute that fits into a payload needs a longer one.
_LONGEST_TAG = MAX_PAYLOAD + _PIECE


class Parser:
    """Reads one XML file; no document type and no entities of its own are allowed.

    Attributes
    ----------
    expat
        For its handlers.
    """

    def __init__(self, name: str) -> None:
        self.expat = expat.ParserCreate()
        self.expat.StartDoctypeDeclHandler = self._doctype
        self._name = name
        self._fed = 0
        self._ended = 0
        self._skipped = 0

    @property
    def line(self) -> int:
        """Line of the file that is being read, from 1."""
        return self.expat.CurrentLineNumber + self._skipped

    @property
    def next_line(self) -> int:
        """Line on which the next byte stands.  (expat's own stays at what it reported last.)"""
        return self._ended + self._skipped + 1

    def skip(self, lines: int) -> None:
        """Count lines that somebody else has read."""
        self._skipped += lines

    def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take the next bytes.

        Raises
        ------
        SourceError
            If they are no XML, or hold a document type or an endless tag.
        """
        try:
            for start in range(0, len(data), _PIECE):
                part = data[start : start + _PIECE]
                self.expat.Parse(part, False)
                self._fed += len(part)
                self._ended += part.count(b"\n")
                # expat 2.5 reads an unfinished tag again with each piece: time squared.
                if self._fed - self.expat.CurrentByteIndex > _LONGEST_TAG:
                    raise SourceError(
                        f"{self._name}, line {self.line}: a tag is longer than "
                        f"{_LONGEST_TAG >> 20} MiB"
                    )
            if final:
                self.expat.Parse(b"", True)
        except expat.ExpatError as error:
            raise SourceError(
                f"{self._name}, line {error.lineno + self._skipped}: "
                f"{expat.ErrorString(error.code)}. "
                "Nothing was imported; the file is damaged or no XML"
            ) from None

    def _doctype(self, *_: object) -> None:
        raise SourceError(
            f"{self._name}, line {self.line}: a document type (DOCTYPE) is "
            "refused, because it can fetch files and unfold without end. XES needs none"
        )
