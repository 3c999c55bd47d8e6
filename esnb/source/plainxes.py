"""The short way through XES: runs of plain traces go past the XML parser.

Nearly all traces are nothing but ``<trace>``, flat attributes and ``<event>`` with flat
attributes.  Runs of them are read as columns; what is not plain (nesting, entities,
comments, other encodings) goes to expat, as does all that stands between the traces.
A run with something odd in it is halved until only that goes the long way.
"""

from __future__ import annotations

import re
from typing import Protocol

from esnb.source.xesblock import Block, parse
from esnb.source.xesparser import Parser

__all__ = ["Plain"]

_ENCODING = re.compile(rb'<\?xml[^>]*encoding=["\'](?!utf-?8["\'])', re.IGNORECASE)
_LONG = 16 << 20
_BEGIN, _END = b"<trace>", b"</trace>"

Bounds = list[tuple[int, int]]


class _Rows(Protocol):
    @property
    def depth(self) -> int: ...

    @property
    def takes_blocks(self) -> bool: ...

    def add_block(self, block: Block, line: int) -> bool: ...


class Plain:
    """Parts plain traces from the rest.

    Parameters
    ----------
    parser
        Takes what is not plain, and counts the lines of the whole file.
    rows
        Takes the plain traces, and knows how deep the parser stands.
    """

    def __init__(self, parser: Parser, rows: _Rows) -> None:
        self._parser = parser
        self._rows = rows
        self._rest = b""
        self._short = True
        self._begun = False

    def feed(self, block: bytes) -> None:
        """Take the next bytes of the file."""
        data = self._rest + block
        place = self._traces(data)
        self._rest = data[place:]
        if len(self._rest) > _LONG:
            self._short = False  # a trace too long to wait for its end
        if not self._short:
            self.pass_on()

    def finish(self) -> None:
        """Take the end of the file."""
        self.pass_on()
        self._parser.feed(b"", final=True)

    def pass_on(self) -> None:
        """Let the parser take what waited for the end of its trace."""
        rest, self._rest = self._rest, b""
        self._parser.feed(rest)

    def _traces(self, data: bytes) -> int:
        """Take the whole traces in `data`; return where the rest begins."""
        place = 0
        while self._short:
            begin, end = data.find(_BEGIN, place), data.rfind(_END)
            if begin < 0 or end < begin:
                return place
            self._gap(data[place:begin])
            place = begin
            if self._short:
                # Mostly all is plain; only where it is not, the traces are told apart.
                whole = (begin, end + len(_END))
                place = (
                    whole[1] if self._read(data, *whole) else self._take(data, _run(data, begin))
                )
        return place

    def _take(self, data: bytes, run: Bounds) -> int:
        """Take traces with nothing but space between them; return where the rest begins."""
        begin, end = run[0][0], run[-1][1]
        if self._read(data, begin, end):
            return end
        if len(run) == 1:
            self._parser.feed(data[begin:end])
            self._short = self._rows.depth == 1  # else it ended within a comment or a text
            return end
        half = len(run) // 2
        end = self._take(data, run[:half])
        if not self._short:
            return end
        self._gap(data[end : run[half][0]])
        return self._take(data, run[half:])

    def _read(self, data: bytes, begin: int, end: int) -> bool:
        """Take all between two places at once if it is plain."""
        if not self._rows.takes_blocks:
            return False
        block = parse(data[begin:end])
        if block is None or not self._rows.add_block(block, self._parser.next_line):
            return False
        self._parser.skip(block.ends)
        return True

    def _gap(self, gap: bytes) -> None:
        """Pass on what stands before a trace, and see whether traces can still be found by eye."""
        self._parser.feed(gap)
        if self._begun:
            self._short = not gap.strip()
        else:
            self._begun = True
            self._short = (
                gap.count(b"<!--") == gap.count(b"-->")
                and gap.count(b"<?") == gap.count(b"?>")
                and b"<![CDATA[" not in gap
                and _ENCODING.search(gap) is None
                and gap[:2] not in (b"\xff\xfe", b"\xfe\xff")
            )
        # Within another element, or an unclosed comment, a trace would be none.
        self._short = self._short and self._rows.depth == 1


def _run(data: bytes, place: int) -> Bounds:
    """Return the bounds of the next traces that have nothing but space between them."""
    found: Bounds = []
    while True:
        begin = data.find(_BEGIN, place)
        end = data.find(_END, begin) if begin >= 0 else -1
        if end < 0 or (found and data[place:begin].strip()):
            return found
        place = end + len(_END)
        found.append((begin, place))
