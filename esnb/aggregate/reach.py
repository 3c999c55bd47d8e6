"""Which fields a handler may change, from its bytecode: for handlers that only Python can run."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType

from esnb.aggregate.bytecode import stored_names
from esnb.aggregate.kinds import Kind

__all__ = ["changed"]

_ON_SELF = {"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"}
_SKIPPED = {"CACHE", "EXTENDED_ARG", "NOP", "COPY", "DUP_TOP", "SWAP", "PRECALL"}


def changed(owner: type, handler: FunctionType, fields: Mapping[str, Kind]) -> set[str]:
    """Return the fields that `handler` may change; all of them where it is not certain."""
    found: set[str] = set()
    todo, done = [handler], set[CodeType]()
    while todo:
        code = todo.pop().__code__
        if code in done:
            continue
        done.add(code)
        names = _names_on_self(code)
        if names is None:
            return set(fields)
        stored = stored_names(code)
        for name in names:
            if name in fields:
                # A collection, or a model, changes by what is called on it.
                if name in stored or not fields[name].scalar:
                    found.add(name)
                continue
            member = next((vars(base)[name] for base in owner.__mro__ if name in vars(base)), None)
            member = member.fget if isinstance(member, property) else member
            if isinstance(member, FunctionType):
                todo.append(member)
    return found


def _names_on_self(code: CodeType) -> set[str] | None:
    """Return the names asked of the first argument, or None if it is handed on."""
    if code.co_cellvars and code.co_varnames[:1] and code.co_varnames[0] in code.co_cellvars:
        return None
    me = code.co_varnames[0] if code.co_argcount else None
    names: set[str] = set()
    waiting = False
    for instruction in _plain(code):
        name = instruction.opname
        if waiting:
            if name not in _ON_SELF:
                return None
            names.add(str(instruction.argval))
            waiting = False
            continue
        argument = instruction.argval
        if name.startswith(("LOAD_FAST", "STORE_FAST")):
            if isinstance(argument, tuple) and me in argument:
                if argument[-1] != me or name.startswith("STORE") or argument.count(me) > 1:
                    return None
                waiting = True
            elif argument == me:
                if name.startswith("STORE"):
                    return None
                waiting = True
    return names


def _plain(code: CodeType) -> Iterator[dis.Instruction]:
    for instruction in dis.get_instructions(code):
        if instruction.opname not in _SKIPPED:
            yield instruction
