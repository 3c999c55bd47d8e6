"""How long to wait when somebody else was faster."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["TRIES", "pauses"]

TRIES = 30
_FIRST, _LONGEST = 0.001, 0.1


def pauses(tries: int, done: int = 0) -> Iterator[float]:
    """Yield how long to wait before each try, in seconds: by chance, so that two rivals part.

    Parameters
    ----------
    done
        How many of the tries were made already.
    """
    longest = 0.0
    for number in range(tries):
        if number >= done:
            yield random.uniform(0, longest)  # noqa: S311 (nothing secret)
        longest = min(longest * 1.5, _LONGEST) or _FIRST
