"""Parameters of a notebook: plain assignments in one of its cells, which get other values."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from esnb.errors import InputError, shown

__all__ = ["with_parameters"]

_TAG = "parameters"


def with_parameters(notebook: Any, given: Mapping[str, str]) -> dict[str, str]:
    """Put new values into the parameters of a notebook.

    Parameters are the plain assignments (``month = "2026-01"``) of the cell tagged
    ``parameters``, or of the first cell of code.

    Parameters
    ----------
    notebook
        A notebook of nbformat; it is changed.
    given
        By name, as text: where the notebook has a text, the new value is one too; else it
        is read as Python (``7``, ``["a", "b"]``, ``None``).

    Returns
    -------
    dict
        All parameters by name, in their order, as Python writes them.

    Raises
    ------
    InputError
        If there is no parameter of a name, or a value cannot be read.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if _TAG in cell.metadata.get("tags", ())]
    for cell in [*tagged, *code][:1]:
        found = _assigned(cell.source)
        _check(given, found)
        values = {name: _value(name, text, found[name]) for name, text in given.items()}
        cell.source = _replaced(cell.source, found, values)
        return {
            name: repr(values[name]) if name in values else ast.unparse(nodes[-1])
            for name, nodes in found.items()
        }
    _check(given, {})
    return {}


def _check(given: Mapping[str, str], found: Mapping[str, Any]) -> None:
    for name in given:
        if name not in found:
            some = ", ".join(found) or "none"
            raise InputError(
                f"the notebook has no parameter {shown(name)}; it has: {some}. (A parameter is "
                f"assigned in the cell tagged {_TAG!r}, or in the first one.)"
            )


def _assigned(source: str) -> dict[str, list[ast.expr]]:
    """Return the values that are assigned to plain names, by name."""
    # Magics are no Python; a line keeps its place.
    plain = [
        "#" + line[1:] if line.lstrip()[:1] in ("%", "!", "?") else line
        for line in source.split("\n")
    ]
    try:
        tree = ast.parse("\n".join(plain))
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, list[ast.expr]] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        value = getattr(node, "value", None)
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and _literal(value):
            found.setdefault(targets[0].id, []).append(value)  # type: ignore[arg-type]
    return found


def _literal(node: ast.expr | None) -> bool:
    if node is None:
        return False
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _value(name: str, text: str, nodes: list[ast.expr]) -> Any:
    if isinstance(ast.literal_eval(nodes[-1]), str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        # A parameter that is None as yet may be anything.
        if ast.literal_eval(nodes[-1]) is None:
            return text
        was = ast.unparse(nodes[-1])
        raise InputError(
            f"{name}={shown(text)} is no value of Python such as {shown(was)}"
        ) from None


def _replaced(source: str, found: Mapping[str, list[ast.expr]], values: Mapping[str, Any]) -> str:
    # Offsets of the parser count bytes.
    lines = source.encode().split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    places = [
        (
            starts[node.lineno - 1] + node.col_offset,
            starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0),
            repr(value).encode(),
        )
        for name, value in values.items()
        for node in found[name]
    ]
    text = source.encode()
    for begin, end, new in sorted(places, reverse=True):
        text = text[:begin] + new + text[end:]
    return text.decode()
