"""What decides how a class behaves: its code, and all that this uses, as parts of a fingerprint.

Followed are the functions, classes, constants and modules of whoever wrote the class, wherever they
stand.  Of what is installed, the name is enough.
"""

from __future__ import annotations

import builtins
import functools
import os
import re
import sys
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = ["asked_for", "code_parts", "model_parts", "stable", "type_parts"]

_VALUES = (
    str, bytes, int, float, Decimal, date, timedelta, Enum,
    tuple, list, Mapping, set, frozenset, type(None),
)  # fmt: skip
_PLAIN = frozenset({int, bool, float, type(None)})
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")
_PYTHON = os.path.dirname(os.__file__) + os.sep
# Our own code comes with its version; the examples are written as a user's code is.
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_EXAMPLES = os.path.join(_OURS, "examples") + os.sep


# What a class keeps of itself; handlers of commands move no state.
_SKIPPED = frozenset({"_options", "description", "_abc_impl", "_chain"})


def stable(value: Any) -> Any:
    """Return a value as what has the same `repr` in every process."""
    if type(value) in _PLAIN:
        return repr(value)
    if isinstance(value, set | frozenset):
        return sorted(str(stable(item)) for item in value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(stable, value)]
    if isinstance(value, Mapping):
        return [type(value).__name__, *((stable(k), stable(v)) for k, v in value.items())]
    if isinstance(value, type) and issubclass(value, Enum):
        return [repr(member) for member in value]
    # The address of an object differs from run to run.
    told = repr(value)
    return re.sub(r" at 0x[0-9a-f]+", "", told) if " at 0x" in told else told


def code_parts(member: Any, seen: set[int]) -> Iterator[object]:
    """Yield what decides how a member of a class, or what a function names, behaves.

    Parameters
    ----------
    seen
        Ids of what was followed already, to be told once.
    """
    if isinstance(member, type):
        yield from type_parts(member, seen)
        return
    # Most are functions, and to ask whether one is a mapping takes long.
    if not isinstance(member, FunctionType) and isinstance(member, _VALUES):
        yield stable(member)
        held = member.values() if isinstance(member, Mapping) else member
        for one in held if isinstance(held, Collection) and not isinstance(held, str) else ():
            if isinstance(one, FunctionType | type):
                yield from code_parts(one, seen)
        return
    if id(member) in seen:
        return
    seen.add(id(member))
    if isinstance(member, property):
        for function in (member.fget, member.fset, member.fdel):
            yield from code_parts(function, seen)
    elif isinstance(member, functools.partial | functools.partialmethod):
        yield stable(member.args), stable(member.keywords)
        yield from code_parts(member.func, seen)
    elif isinstance(member, functools.cached_property):
        yield from code_parts(member.func, seen)
    elif isinstance(member, staticmethod | classmethod | types.MethodType):
        yield from code_parts(member.__func__, seen)
    elif isinstance(member, FunctionType):
        yield from _function_parts(member, seen)
    elif is_dataclass(member) or isinstance(member, BaseModel):
        yield stable(member)
        yield from type_parts(type(member), seen)


def type_parts(annotation: Any, seen: set[int]) -> Iterator[object]:
    """Yield what decides which values a type has, or how a class that a function names behaves."""
    arguments = typing.get_args(annotation)
    if arguments and not isinstance(annotation, type):
        for one in arguments:
            yield from type_parts(one, seen)
        for one in getattr(annotation, "__metadata__", ()):
            yield from _rule_parts(one, seen)
    elif isinstance(annotation, type) and not _installed(annotation):
        if issubclass(annotation, Enum):
            yield stable(annotation)
        elif issubclass(annotation, BaseModel):
            yield from model_parts(annotation, seen)
        elif id(annotation) not in seen:
            seen.add(id(annotation))
            yield annotation.__qualname__
            for base in annotation.__mro__:
                if not _installed(base):
                    yield from _member_parts(base, seen)


def asked_for(owner: type, names: Iterable[str]) -> set[str]:
    """Return which names the code of a class, or what it uses, has; they may be anyone's."""
    told = repr(list(type_parts(owner, set())))
    return {name for name in names if re.search(rf"\b{name}\b", told)}


def model_parts(model: type[BaseModel], seen: set[int]) -> Iterator[object]:
    """Yield what decides which values a model of pydantic takes, and what becomes of them."""
    if id(model) in seen:
        return
    seen.add(id(model))
    yield model.__qualname__, stable(dict(model.model_config))
    for name, field in model.model_fields.items():
        yield name, str(field.annotation), field.alias, str(field.validation_alias)
        yield stable(field.default)
        yield from _field_parts(field, seen)
    for base in model.__mro__:
        if not _installed(base):
            yield from _member_parts(base, seen)


def _field_parts(field: FieldInfo, seen: set[int]) -> Iterator[object]:
    if field.default_factory is not None:
        yield from code_parts(field.default_factory, seen)
    yield from type_parts(field.annotation, seen)
    for rule in field.metadata:
        yield from _rule_parts(rule, seen)


def _rule_parts(rule: object, seen: set[int]) -> Iterator[object]:
    """Yield what a bound says, or a validator that stands in an annotation."""
    yield stable(rule)
    function = getattr(rule, "func", None)
    if function is not None:
        yield from code_parts(function, seen)


def _member_parts(owner: type, seen: set[int]) -> Iterator[object]:
    for name, member in sorted(vars(owner).items()):
        if name.startswith("__") and not isinstance(member, FunctionType):
            continue
        if name not in _SKIPPED and not hasattr(member, "_esnb_handles"):
            yield name, tuple(code_parts(member, seen))


def _function_parts(function: FunctionType, seen: set[int]) -> Iterator[object]:
    if _installed(function):
        yield function.__module__, function.__qualname__
        return
    yield stable(function.__defaults__), stable(function.__kwdefaults__)
    told, names = _read(function.__code__)
    yield told
    for name in names:
        if name not in function.__globals__:
            continue
        found = function.__globals__[name]
        if isinstance(found, ModuleType):
            yield from _module_parts(found, names, seen)
        else:
            yield name, tuple(code_parts(found, seen))
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        if content is not function:
            yield from code_parts(content, seen)


def _module_parts(module: ModuleType, names: Iterable[str], seen: set[int]) -> Iterator[object]:
    """Yield what a function may use of a module that it names."""
    if _installed(module):
        return
    for name in names:
        found = vars(module).get(name)
        if isinstance(found, ModuleType):
            if id(found) not in seen:
                seen.add(id(found))
                yield from _module_parts(found, names, seen)
        elif found is not None:
            yield name, tuple(code_parts(found, seen))


@lru_cache(maxsize=4096)
def _read(code: CodeType) -> tuple[str, tuple[str, ...]]:
    """Return what a code does, and the names that it asks for; those of functions in it too."""
    told: list[object] = []
    names: dict[str, None] = {}
    todo = [code]
    while todo:
        one = todo.pop()
        names |= dict.fromkeys(one.co_names)
        constants = [stable(c) for c in one.co_consts if not isinstance(c, CodeType)]
        todo += [c for c in one.co_consts if isinstance(c, CodeType)]
        told.append((one.co_code.hex(), one.co_names, one.co_varnames, constants))
    return repr(told), tuple(names)


def _installed(found: FunctionType | ModuleType | type) -> bool:
    """Tell whether something comes with Python, with a package or with us."""
    if isinstance(found, FunctionType):
        file = found.__code__.co_filename
    elif isinstance(found, ModuleType):
        file = _file_of(found)
    else:
        if getattr(builtins, found.__qualname__, None) is found:
            return True
        module = sys.modules.get(found.__module__)
        file = "" if module is None or module is builtins else _file_of(module)
    return _comes_with(file)


def _file_of(module: ModuleType) -> str:
    """Return where a module stands; of one that is built into Python, something like it."""
    if module.__name__ == "__main__":
        return ""
    built_in = module.__name__.partition(".")[0] in sys.stdlib_module_names
    return getattr(module, "__file__", None) or ("<frozen >" if built_in else "")


@lru_cache(maxsize=4096)
def _comes_with(file: str) -> bool:
    if file.startswith(_OURS):
        return not file.startswith(_EXAMPLES)
    return file.startswith((_PYTHON, "<frozen ")) or _INSTALLED.search(file) is not None
