"""Frozen dataclasses that are written as JSON and read back, each by one method.

msgspec does the work: it knows dataclasses, checks the types of what it reads, and names the
place of what is wrong. A subclass is a frozen dataclass whose fields are JSON's own types,
other records, lists or tuples of them, or dictionaries by text. Fields that a reader does not
know are passed over, so that a later version may add some.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Share(Record):
...     count: int
...     of: int
>>> Share(3, 4).to_json()
{'count': 3, 'of': 4}
>>> Share.from_json({"count": 3, "of": "four"})
Traceback (most recent call last):
msgspec.ValidationError: Expected `int`, got `str` - at `$.of`
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Self

import msgspec
import numpy as np


class Record:
    """Base of every dataclass that is written as JSON."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as they are when the JSON is read back: tuples become lists.

        Raises:
            ValueError: a number that is NaN or infinite, which JSON cannot hold.
        """
        fields = msgspec.to_builtins(self, enc_hook=_plain)
        return dict(json.loads(json.dumps(fields, allow_nan=False)))

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The record that :meth:`to_json` wrote.

        Raises:
            ValueError: a field is missing or of another type; the message says which.
        """
        return msgspec.convert(value, cls)


def check_keys(record: type[Record], stored: Mapping[str, Any], what: str) -> None:
    """Refuse fields that a record does not have, where passing over one would change a result.

    Args:
        record: a dataclass.
        stored: what it is to be read from.
        what: that is, in words.

    Raises:
        ValueError: there are such fields; the message names them.
    """
    known = {field.name for field in fields(record)}  # type: ignore[arg-type]
    if unknown := sorted(stored.keys() - known):
        names = ", ".join(map(repr, unknown[:5]))
        raise ValueError(
            f"unknown settings of {what}: {names:.200}, known: {', '.join(sorted(known))}"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise NotImplementedError(f"{type(value).__name__} is nothing that JSON can hold")
