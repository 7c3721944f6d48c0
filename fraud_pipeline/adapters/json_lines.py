"""Read JSON Lines, one object a line, as text cells: numbers keep the digits they are written with."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fraud_pipeline.core.errors import InputFileError

if TYPE_CHECKING:
    import pyarrow as pa

_SCALARS = (str, bool, type(None))


class _TwiceError(ValueError):
    """An object has a key twice."""


def read_json_lines(text: str, name: str, columns: Sequence[str]) -> tuple["pa.Table", list[str]]:
    """Read the members `columns` of every object.

    Parameters
    ----------
    text
        The whole file; empty lines do not count.
    name
        File name, for errors.
    columns
        Keys wanted.

    Returns
    -------
    table, keys
        A text column for each of `columns`, missing where an object has none or ``null``; and all keys that any
        object has, in order. Without any object the keys are `columns`.

    Raises
    ------
    InputFileError
        A line is no JSON object, has a key twice, or a wanted value is nested or no text: names line and remedy.
    """
    import pyarrow as pa

    cells: dict[str, list[str | None]] = {column: [] for column in columns}
    keys: dict[str, None] = {}
    # Not splitlines: a text may hold other line breaks of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        members = _members(line, name, number)
        keys.update(dict.fromkeys(members))
        for column, values in cells.items():
            values.append(_cell(members.get(column), name, number, column))
    table = pa.table({column: pa.array(values, pa.string()) for column, values in cells.items()})
    return table, list(keys or cells)


def _members(line: str, name: str, number: int) -> dict[str, object]:
    try:
        members = _DECODER.decode(line.strip())
    except _TwiceError as error:
        raise InputFileError(f"{name}, line {number} has the key {str(error)!r} twice: keep one of them.") from error
    except (ValueError, RecursionError) as error:
        raise InputFileError(
            f"{name}, line {number} is no JSON ({error}): one object a line is expected; have the file delivered again."
        ) from error
    if not isinstance(members, dict):
        raise InputFileError(
            f'{name}, line {number} is no JSON object: write each row as one object, such as {{"id": "4711"}}.'
        )
    return members


def _cell(value: object, name: str, number: int, column: str) -> str | None:
    if not isinstance(value, _SCALARS):
        kind = "object" if isinstance(value, dict) else "array"
        raise InputFileError(
            f"{name}, line {number}, column {column!r}: an {kind} is no cell; map a column of text, numbers or times."
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is not None and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputFileError(
                f"{name}, line {number}, column {column!r}: an escape names half a character ({error.reason}); "
                "have the file delivered again."
            ) from error
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return members


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_once, parse_float=str, parse_int=str, parse_constant=str)
