"""What public functions have in common: arguments are checked, and the caller is left alone.

Arguments are checked against the annotations of the function, and ``**settings`` against the
fields of :class:`pipelines.runs.job.Settings`, so that a wrong type is told in one line before
the work begins. What is as good is taken for what is asked: NumPy's numbers and texts, any
:class:`os.PathLike`, and a single text where several are expected.
"""

import functools
import inspect
import math
import os
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from pipelines.runs.guest import at_work
from pipelines.runs.job import Settings
from sanitizer.errors import InputError, RunError
from sanitizer.files import DISK_FULL

P = ParamSpec("P")
R = TypeVar("R")


def public(function: Callable[P, R]) -> Callable[P, R]:
    """A job that people call: :func:`checked`, and a guest in their process while it works.

    Raises:
        RunError: a disk is full, where the job itself has no words for that.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            where = f" ({error.filename})" if error.filename else ""
            raise RunError(
                f"no space left on the disk{where}; free some and run the same command again"
            ) from error

    return checked(at_work(call))


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that people call, and that looks at its arguments first.

    Its signature lists the settings one by one, for ``help`` and for completion.

    Raises:
        TypeError: as Python does, where an argument is missing or of no known name.
        InputError: an argument is of the wrong type.
    """
    signature, kinds = _signature(function), _kinds(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}") from None
        fit = {name: check(name, value, kinds.get(name, Any)) for name, value in given.items()}
        return typing.cast(Callable[..., R], function)(**fit)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature, with the settings in place of ``**settings``."""
    given = inspect.signature(function)
    own = [p for p in given.parameters.values() if p.kind is not p.VAR_KEYWORD]
    if len(own) < len(given.parameters):
        for setting in inspect.signature(Settings).parameters.values():
            own.append(setting.replace(kind=inspect.Parameter.KEYWORD_ONLY))
    return given.replace(parameters=own)


def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of all that the function takes, settings included."""
    return typing.get_type_hints(Settings) | typing.get_type_hints(function)


def check(name: str, value: Any, kind: Any) -> Any:
    """An argument as what its annotation asks for.

    >>> check("inputs", "photos", Sequence[str])
    ('photos',)
    >>> check("shard_rows", 1.5, int)
    Traceback (most recent call last):
    sanitizer.errors.InputError: shard rows: expected a whole number, got 1.5

    Args:
        name: of the argument.
        value: what was given.
        kind: the annotation; one that is not made of those in ``_FORMS`` takes anything.

    Raises:
        InputError: it is something else; a number that is not finite; a path that is empty.
    """
    members = _members(kind)
    if any(_origin(member) not in _FORMS for member in members):
        return value
    try:
        return _taken(value, members)
    except ValueError as error:
        raise InputError(
            f"{name.replace('_', ' ')}: expected {error}, got {reprlib.repr(value)}"
        ) from error


def _members(kind: Any) -> tuple[Any, ...]:
    """What a union is made of; a path includes the text of one."""
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return tuple(m for m in members if m is not str) if Path in members else members


def _origin(kind: Any) -> Any:
    """A type without what it has in brackets."""
    return typing.get_origin(kind) or kind


def _taken(value: Any, members: tuple[Any, ...]) -> Any:
    """The value as the first kind that takes it.

    Raises:
        ValueError: none does; says what they are.
    """
    expected = []
    for member in members:
        form: _Form = _FORMS.get(member, _FORMS[_origin(member)])
        try:
            return form.take(value, *typing.get_args(member))
        except (OverflowError, TypeError, ValueError):
            expected.append(form.words)
    raise ValueError(" or ".join(expected))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)  # of NumPy's too


def _path(value: Any) -> str:
    path = _text(os.fspath(value))
    if not path or "\0" in path:
        raise ValueError
    return path


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return bool(value)


def _none(value: Any) -> None:
    if value is not None:
        raise TypeError


def _several(value: Any, kind: Any) -> tuple[Any, ...]:
    if isinstance(value, str | os.PathLike | Real):
        return (_taken(value, _members(kind)),)
    if isinstance(value, bytes | Mapping):
        raise TypeError
    return tuple(_taken(one, _members(kind)) for one in value)


def _mapping(value: Any, *_: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TypeError
    return value


class _Form(NamedTuple):
    words: str
    take: Callable[..., Any]  #: of a value and what the annotation has in brackets; or an error


_FORMS: dict[Any, _Form] = {
    str: _Form("a text", _text),
    Path: _Form("a path", _path),
    int: _Form("a whole number", _whole),
    float: _Form("a finite number", _number),
    bool: _Form("True or False", _truth),
    types.NoneType: _Form("None", _none),
    Sequence: _Form("one or several texts", _several),
    Sequence[float]: _Form("one or several finite numbers", _several),
    Mapping: _Form("a mapping", _mapping),
}
