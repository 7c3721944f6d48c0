"""Universal Binary JSON, as far as XGBoost writes it: https://ubjson.org, with typed arrays of numbers."""

import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NUMBERS: Final = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_MAX_DEPTH: Final = 20


def decode(payload: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read one value and nothing after it.

    Parameters
    ----------
    payload : bytes

    Returns
    -------
    dict, list, str, int, float or ndarray
        Arrays of one number type come as arrays of it, in big-endian order.

    Raises
    ------
    ValueError
        If the bytes are not exactly one value. No length that they claim is trusted.
    """
    reader = _Reader(payload)
    value = reader.value(reader.marker(), _MAX_DEPTH)
    if reader.position != len(payload):
        raise ValueError(f"{len(payload) - reader.position} bytes follow the end")
    return value


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.position = 0

    def value(self, marker: str, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        if not depth:
            raise ValueError("values are nested too deeply")
        if marker == "{":
            return self._members(depth - 1)
        if marker == "[":
            return self._items(depth - 1)
        if marker == "S":
            return self._text()
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0].item()
        raise ValueError(f"unknown marker {marker!r} before byte {self.position}")

    def marker(self) -> str:
        return self._take(1).decode("latin-1")

    def _members(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while self.marker() != "}":
            self.position -= 1
            name = self._text()
            if name in members:
                raise ValueError(f"{name!r} is there twice")
            members[name] = self.value(self.marker(), depth)
        return members

    def _items(self, depth: int) -> list[Any] | NDArray[Any]:
        kind = self.marker()
        if kind == "$":
            kind = self.marker()
            self._expect("#")
            return self._numbers(kind, self._length())
        self.position -= 1
        self._expect("#")
        return [self.value(self.marker(), depth) for _ in range(self._length())]

    def _text(self) -> str:
        return self._take(self._length()).decode("utf-8")

    def _length(self) -> int:
        self._expect("L")
        (length,) = struct.unpack(">q", self._take(8))
        return int(length)

    def _numbers(self, marker: str, count: int) -> NDArray[Any]:
        if marker not in _NUMBERS:
            raise ValueError(f"unknown number type {marker!r} before byte {self.position}")
        kind = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self._take(kind.itemsize * count), dtype=kind)

    def _expect(self, marker: str) -> None:
        if self.marker() != marker:
            raise ValueError(f"{marker!r} expected at byte {self.position - 1}")

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self._payload):
            raise ValueError(f"cut short at byte {self.position}")
        taken = self._payload[self.position : end]
        self.position = end
        return taken
