"""Tokens that stand for identifiers: the same for the same identifier and key, and of no use without the key."""

import base64
import hashlib
import hmac
from typing import Final

import numpy as np
import pandas as pd

from fraud_pipeline.core.card_numbers import digits_of, is_card_number

PREFIX: Final = "tok_"
_BYTES: Final = 20


def token(identifier: str, key: str) -> str:
    """Make the token of an identifier: HMAC-SHA256, cut to 160 bits, in letters and digits.

    Outer blanks do not count, nor how the digits of a card number are grouped.
    """
    text = digits_of(identifier) if is_card_number(identifier) else identifier.strip()
    digest = hmac.digest(key.encode(), text.encode(), hashlib.sha256)[:_BYTES]
    return PREFIX + base64.b32encode(digest).decode().lower()


def tokenise(identifiers: pd.Series, key: str) -> pd.Series:
    """Make the tokens of identifiers; what is missing or blank stays, to be rejected."""
    codes, names = pd.factorize(identifiers)
    made = [token(name, key) if name.strip() else name for name in names]
    found = np.array([*made, None], dtype=object)[codes]
    return pd.Series(found, index=identifiers.index, name=identifiers.name, dtype="str")
