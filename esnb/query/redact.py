"""Keeping secrets out of error texts: DuckDB echoes the SQL that it was given."""

from __future__ import annotations

import os
import re

__all__ = ["redact"]

_HIDDEN = "[hidden]"
_SECRET_NAME = re.compile(r"key|token|secret|passw|pwd|credential|auth", re.IGNORECASE)
_SHORTEST = 6
_IN_TEXT = (
    (re.compile(r"(://[^\s/:@]*:)[^\s/@]+(@)"), rf"\1{_HIDDEN}\2"),
    (
        re.compile(
            r"((?:password|passwd|pwd|secret|token|api_?key|access_?key(?:_id)?|key_id)"
            r"[\"']?\s*(?:=>|:=|=|:|\s)\s*)(\"[^\"]*\"|'[^']*'|[^\s;,)]+)",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """Return `text` without passwords in it and without the secrets of the environment."""
    secrets = {
        value
        for name, value in os.environ.items()
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name)
    }
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text
