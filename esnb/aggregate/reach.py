"""Which fields a handler may change, from its bytecode: for handlers that only Python can run."""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator, Mapping
from inspect import getattr_static
from types import CodeType, FunctionType

from esnb.aggregate.bytecode import stored_names
from esnb.aggregate.kinds import Kind

__all__ = ["changed", "remembered"]

_LOADS = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"}
_ON_SELF = _LOADS | {"STORE_ATTR", "DELETE_ATTR"}
_SKIPPED = {"CACHE", "EXTENDED_ARG", "NOP", "COPY", "DUP_TOP", "SWAP", "PRECALL"}
_MISSING = object()


def changed(owner: type, handler: FunctionType, fields: Mapping[str, Kind]) -> set[str]:
    """Return the fields that `handler` may change; all of them where it is not certain."""
    found: set[str] = set()
    for reached in _reached(owner, handler, fields):
        if reached is None:
            return set(fields)
        stored, loaded = reached
        for name in (stored | loaded) & set(fields):
            # A collection, or a model, changes by what is called on it.
            if name in stored or not fields[name].scalar:
                found.add(name)
    return found


def remembered(owner: type, handlers: Iterable[FunctionType], fields: Mapping[str, Kind]) -> str:
    """Return an attribute that handlers set, and may read, and that is no field; or nothing."""
    stored, loaded, handed_on = set[str](), set[str](), False
    todo, done = list(handlers), set[CodeType]()
    while todo:
        code = todo.pop().__code__
        if code in done or not code.co_argcount:
            continue
        done.add(code)
        asked, whole = _asked(code)
        handed_on |= whole
        set_here = stored_names(code)
        for name, how in asked.items():
            if name in fields:
                continue
            if name in set_here:
                stored.add(name)
            if how & _LOADS:
                loaded.add(name)
            todo += _functions(owner, name) or ()
    own = {name for name in stored if not hasattr(getattr_static(owner, name, None), "__set__")}
    return min(own if handed_on else own & loaded, default="")


def _reached(
    owner: type, handler: FunctionType, fields: Mapping[str, Kind]
) -> Iterator[tuple[set[str], set[str]] | None]:
    """Yield what a handler, and each method that it calls on itself, sets and reads of itself.

    None where it is not certain.
    """
    todo, done = [handler], set[CodeType]()
    while todo:
        code = todo.pop().__code__
        if code in done:
            continue
        done.add(code)
        names = _names_on_self(code)
        if names is None:
            yield None
            continue
        set_here = stored_names(code)
        stored = {name for name in names if name in set_here}
        yield stored, {name for name, how in names.items() if how & _LOADS}
        for name in names.keys() - fields.keys():
            found = _functions(owner, name)
            if found is None:
                yield None
            else:
                todo += found


def _functions(owner: type, name: str) -> list[FunctionType] | None:
    """Return what runs with the aggregate where `name` is asked of it, or None if that is open."""
    if name.startswith("__"):
        return None
    member = next((vars(base)[name] for base in owner.__mro__ if name in vars(base)), _MISSING)
    if isinstance(member, FunctionType):
        return [member]
    if isinstance(member, property):
        parts = (member.fget, member.fset, member.fdel)
        return [one for one in parts if isinstance(one, FunctionType)]
    plain = isinstance(member, staticmethod | classmethod | type)
    return [] if plain or not hasattr(member, "__get__") else None


def _names_on_self(code: CodeType) -> dict[str, set[str]] | None:
    """Return the names asked of the first argument, and how; None if it is handed on."""
    if not code.co_argcount:
        return None  # it may be among the arguments that have no name
    asked, handed_on = _asked(code)
    return None if handed_on else asked


def _asked(code: CodeType) -> tuple[dict[str, set[str]], bool]:
    """Return the names asked of the first argument, and how; and whether it is handed on."""
    me = code.co_varnames[0]
    names: dict[str, set[str]] = {}
    handed_on = me in code.co_cellvars
    waiting = False
    for instruction in _plain(code):
        name, argument = instruction.opname, instruction.argval
        if waiting:
            waiting = False
            if name in _ON_SELF:
                names.setdefault(str(argument), set()).add(name)
                continue
            handed_on = True
        if name.startswith(("LOAD_FAST", "STORE_FAST", "LOAD_DEREF")):
            if isinstance(argument, tuple) and me in argument:
                handed_on |= argument[-1] != me or argument.count(me) > 1
                handed_on |= name.startswith("STORE")
                waiting = argument[-1] == me
            elif argument == me:
                handed_on |= name.startswith("STORE")
                waiting = not name.startswith("STORE")
    return names, handed_on or waiting


def _plain(code: CodeType) -> Iterator[dis.Instruction]:
    for instruction in dis.get_instructions(code):
        if instruction.opname not in _SKIPPED:
            yield instruction
