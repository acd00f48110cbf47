"""What users' code raised or gave, in words: whatever it is, describing it neither fails nor takes long."""

from __future__ import annotations

import reprlib
from typing import Any, cast

MAX_MESSAGE = 4000
"""Characters of an error's text that are kept; the rest is cut, and its length told."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: Any) -> str:
    """A value, in at most 80 characters."""
    try:
        return f"{_SHORT.repr(value):.80}"
    except BaseException:  # whatever it raises, even an exit: the error that is being told is another
        return f"a {_name(type(cast(object, value)))} that cannot be shown"


def described(error: BaseException) -> str:
    """`Class: text`; an exception whose text cannot be made does not take the run's end with it."""
    try:
        text = str.__str__(str(error))
    except BaseException:  # whatever it raises, even an exit, the run has to end
        text = ""
    return f"{_name(type(error))}: {fitting(text) or '<no message>'}"


def fitting(text: str) -> str:
    """The text as it can be stored everywhere: of bounded length, without NUL and lone surrogates."""
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]}... ({len(text)} characters in all)"
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


def class_names(error: BaseException) -> list[str]:
    """The names of the error's class and of its bases, each without and with its module."""
    classes = [kind for kind in type(error).__mro__ if kind is not object]
    return [name for kind in classes for name in (_name(kind), f"{kind.__module__}.{kind.__qualname__}")]


def told_apart(error: BaseException) -> BaseException:
    """The one error that a group holds: a task group wraps even a single failure."""
    # By its type alone: `isinstance` asks the object too, which may answer anything.
    while issubclass(type(error), BaseExceptionGroup):
        held = cast("BaseExceptionGroup[BaseException]", error).exceptions
        if len(held) != 1:
            break
        (error,) = held
    return cast(BaseException, error)


def _name(kind: type) -> str:
    return fitting(type.__dict__["__name__"].__get__(kind))
