"""What tracing cannot see, found in the bytecode: with its line and its name in Python."""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType

__all__ = ["blind_spots", "instructions", "raises", "reads_identity", "stored_names"]

_UNSEEN = {
    "SETUP_FINALLY": "try",
    "PUSH_EXC_INFO": "try or with",
    "BEFORE_WITH": "with",
    "STORE_GLOBAL": "a global that is set",
    "DELETE_GLOBAL": "a global that is deleted",
    "YIELD_VALUE": "yield",
    "GET_AWAITABLE": "await",
    "MATCH_CLASS": "match on a class",
    "MATCH_MAPPING": "match on a mapping",
    "MATCH_SEQUENCE": "match on a sequence",
    "IMPORT_NAME": "import",
}
# Functions that look past what a value does to what it is.
_UNSEEN_NAMES = frozenset({"type", "id", "vars", "locals", "globals", "eval", "exec"})
# `is`, in its several forms.
_IDENTITY = ("IS_OP", "IF_NONE", "IF_NOT_NONE")
# Most code has none of them, which its bytes tell without being taken apart.
_UNSEEN_CODES = frozenset(dis.opmap[name] for name in _UNSEEN if name in dis.opmap)
_IDENTITY_CODES = frozenset(
    number for name, number in dis.opmap.items() if any(mark in name for mark in _IDENTITY)
)


@lru_cache(maxsize=256)
def instructions(code: CodeType) -> tuple[dis.Instruction, ...]:
    """Return the instructions of `code`, whose reading costs more than looking at them."""
    return tuple(dis.get_instructions(code))


def blind_spots(code: CodeType) -> tuple[int, str] | None:
    """Return line and construct of the first thing in `code` that tracing cannot see."""
    if _UNSEEN_CODES.isdisjoint(code.co_code[::2]) and _UNSEEN_NAMES.isdisjoint(code.co_names):
        return None
    line = code.co_firstlineno
    for instruction in instructions(code):
        line = _line(instruction, line)
        found = _UNSEEN.get(instruction.opname)
        if found is not None:
            return line, found
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval in (
            _UNSEEN_NAMES
        ):
            return line, f"{instruction.argval}()"
    return None


def reads_identity(code: CodeType) -> tuple[int, bool] | None:
    """Return where `code` uses ``is``, and whether only to compare with None."""
    if _IDENTITY_CODES.isdisjoint(code.co_code[::2]):
        return None
    line = code.co_firstlineno
    before: list[dis.Instruction] = []
    for instruction in instructions(code):
        line = _line(instruction, line)
        name = instruction.opname
        if any(mark in name for mark in _IDENTITY):
            with_none = name != "IS_OP" or (
                bool(before)
                and before[-1].opname in ("LOAD_CONST", "RETURN_CONST")
                and before[-1].argval is None
            )
            return line, with_none
        if name not in ("CACHE", "EXTENDED_ARG", "NOP"):
            before.append(instruction)
    return None


def raises(error: BaseException) -> bool:
    """Tell whether the code in which an error arose says ``raise`` there."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return any(
        instruction.offset == trace.tb_lasti and instruction.opname == "RAISE_VARARGS"
        for instruction in instructions(code)
    )


def stored_names(code: CodeType) -> set[str]:
    """Return the names of the attributes that `code` sets on anything."""
    names = {
        instruction.argval
        for instruction in instructions(code)
        if instruction.opname in ("STORE_ATTR", "DELETE_ATTR")
    }
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= stored_names(constant)
    return names


def _line(instruction: dis.Instruction, line: int) -> int:
    found = getattr(instruction, "positions", None)
    if found is not None and found.lineno is not None:
        return int(found.lineno)
    return line
