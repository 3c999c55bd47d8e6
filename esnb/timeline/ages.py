"""How long ago each field took its value: what tells the event that gave it, without a search.

Aggregates are numbered, and the rows of each are counted from 0 on; both together are the ``key``
of a row.  The age of a field in a row is how many rows of the aggregate ago it took the value that
it has there: the event that gave it this value is the one of the row whose key is smaller by as
much.  Ages are small numbers, and lie side by side in whole numbers of 64 bits, ``a0``, ``a1``…,
`_LANES` in each.  The first of them all is that of ``ended``, then the fields follow.

Not every table has ages, or all of them: see `names` and `State.longest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from esnb.timeline.distinct import comparable
from esnb.timeline.fold import Fold
from esnb.timeline.parts import as_text
from esnb.timeline.ranks import Bools, Ints

__all__ = ["MOST", "Counted", "age_sql", "counted", "names", "number_sql", "packed"]

_LANES, _BITS = 3, 21
# The greatest age, and as many rows of one aggregate have a key; greater ages are said to be this.
MOST = 2**_BITS - 1


def names(fold: Fold) -> tuple[str, ...]:
    """Return the columns, all BIGINT; none where values cannot be compared row by row."""
    if not all(comparable(field.type, as_text=as_text(field.type)) for field in fold.fields):
        return ()
    words = -(-(len(fold.fields) + 1) // _LANES)
    return ("key", *(f"a{word}" for word in range(words)))


def number_sql(t: str) -> str:
    """Return SQL of the number of the aggregate of a row `t`."""
    return f"({t}.key >> {_BITS})"


def age_sql(t: str, place: int) -> str:
    """Return SQL of an age in a row `t`: of ``ended`` at place 0, of the fields from 1 on."""
    word, below = divmod(place, _LANES)
    return f"(({t}.a{word} >> {_BITS * below}) & {MOST})"


@dataclass(frozen=True)
class Counted:
    """The keys of rows that come aggregate by aggregate.

    Attributes
    ----------
    keys
        By row.
    fresh
        How many aggregates are new.
    longest
        The most rows that an aggregate has by now.
    """

    keys: Ints
    fresh: int
    longest: int


def counted(begins: Bools, number: int, carried: Ints | None) -> Counted:
    """Count rows, and new aggregates from `number` on.

    Parameters
    ----------
    begins
        For each row whether it is the first one of its aggregate.
    carried
        The keys of the rows that stand for all before them, -1 for all others; None if no row does.
    """
    here = np.arange(len(begins))
    first = np.maximum.accumulate(np.where(begins, here, 0))
    fresh = begins if carried is None else begins & (carried < 0)
    start = (number - 1 + np.cumsum(fresh)) << _BITS
    if carried is not None:
        start = np.where(fresh, start, carried)[first]
    nth = here - first + (start & MOST)
    keys = start - (start & MOST) + np.minimum(nth, MOST)
    longest = int(nth.max()) + 1 if len(nth) else 0
    return Counted(keys, int(fresh.sum()), longest)


def packed(begins: Bools, changes: Iterable[Ints], carried: Sequence[Ints]) -> list[Ints]:
    """Return the columns ``a0``, ``a1``… of rows that come aggregate by aggregate.

    Parameters
    ----------
    begins
        For each row whether it is the first one of its aggregate.
    changes
        By ``ended`` and field: the rows whose value is another than in the row before, of those
        that have one before them.
    carried
        What these columns were of the rows that stand for all before them, 0 for all others; none
        if no row does.
    """
    # Numbers of half the size are moved in half the time.
    here = np.arange(len(begins), dtype=np.int32)
    words: list[Ints] = []
    for place, rows in enumerate(changes):
        word, below = divmod(place, _LANES)
        marks = begins.copy()
        marks[rows] = True
        since = np.flatnonzero(marks)
        taken = since.astype(np.int32)
        if carried:
            taken -= ((carried[word][since] >> (_BITS * below)) & MOST).astype(np.int32)
        last = np.repeat(taken, np.diff(since, append=len(begins)))
        age = np.minimum(here - last, MOST).astype(np.int64)
        if below:
            age <<= _BITS * below
            words[word] |= age
        else:
            words.append(age)
    return words
