"""Universal Binary JSON as XGBoost writes it: the same as its JSON, and nothing that is not whole."""

import json

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from fraud_pipeline.adapters import ubjson

ROWS = np.random.default_rng(0).normal(size=(400, 5))
BOOSTER = xgboost.train(
    {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, xgboost.DMatrix(ROWS, ROWS[:, 0] > 1), 3
)
PAYLOAD = bytes(BOOSTER.save_raw("ubj"))


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.float32(one) == np.float32(other))
    return one == other


def test_a_model_is_read_as_xgboost_writes_it_in_json() -> None:
    assert close(plain(ubjson.decode(PAYLOAD)), json.loads(BOOSTER.save_raw("json")))


def test_numbers_of_all_types_are_read() -> None:
    items = b"i\xffU\xffI\xff\xfel\x00\x01\x00\x00L" + (2**40).to_bytes(8, "big") + b"d\x3f\x80\x00\x00"
    items += b"D\x3f\xf8\x00\x00\x00\x00\x00\x00"
    payload = b"[#L" + (7).to_bytes(8, "big") + items
    assert ubjson.decode(payload) == [-1, 255, -2, 65536, 2**40, 1.0, 1.5]


@given(st.integers(0, len(PAYLOAD) - 1))
def test_a_model_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"cut short|expected"):
        ubjson.decode(PAYLOAD[:length])


def length(number: int) -> bytes:
    return b"L" + number.to_bytes(8, "big", signed=True)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (PAYLOAD + b"x", "1 bytes follow the end"),
        (b"?", "unknown marker '\\?'"),
        (b"[$T#" + length(1), "unknown number type 'T'"),
        (b"[$d#" + length(2**50), "cut short"),
        (b"[$d#" + length(-1), "cut short"),
        (b"[#" + length(2**62), "cut short"),
        (b"[i\x01]", "'#' expected"),
        (b"{i\x01ai\x01}", "'L' expected"),
        (b"{" + (length(1) + b"ai\x01") * 2 + b"}", "'a' is there twice"),
        (b"S" + length(1) + b"\xff", "can't decode byte"),
        ((b"[#" + length(1)) * 5000 + b"i\x01", "nested too deeply"),
    ],
)
def test_bytes_that_are_not_exactly_one_value_are_refused(payload: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ubjson.decode(payload)
