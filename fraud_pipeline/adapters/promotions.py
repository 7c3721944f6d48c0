"""Who made which model champion, when and why: recorded in the registry beside the aliases."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from fraud_pipeline.adapters import clock
from fraud_pipeline.adapters.model_registry import ModelRegistry
from fraud_pipeline.core.errors import ModelArtefactError

FRAUD_MODEL: Final = "fraud_model"
CHAMPION: Final = "champion"
"""Alias of the version that scores."""

CHALLENGER: Final = "challenger"
"""Alias of the newest version that was compared with the champion."""

_TAG: Final = "promotion_"


@dataclass(frozen=True)
class Promotion:
    """One move of the champion alias.

    Parameters
    ----------
    version : int
        The champion since.
    previous : int or None
        The champion before; None for the first.
    reason : str
    actor : str
        The pipeline or a person.
    at : datetime
        UTC.
    is_roll_back : bool
        Whether it took back an earlier promotion.
    """

    version: int
    previous: int | None
    reason: str
    actor: str
    at: datetime
    is_roll_back: bool = False


def move_champion(
    registry: ModelRegistry, version: int, *, reason: str, actor: str, is_roll_back: bool = False
) -> Promotion:
    """Point the champion alias at a version and record it.

    One process at a time may do so.

    Raises
    ------
    ModelArtefactError
        If there is no such version, or the registry cannot be reached or written.
    """
    before = registry.alias(FRAUD_MODEL, CHAMPION)
    promotion = Promotion(
        version, None if before is None else before.version, reason, actor, clock.utc_now(), is_roll_back
    )
    number = 1 + max((int(tag.removeprefix(_TAG)) for tag in _tags(registry)), default=0)
    # The alias first: without its record it still is the truth, the other way round the record would lie.
    registry.set_alias(FRAUD_MODEL, CHAMPION, version)
    registry.set_tag(
        FRAUD_MODEL, f"{_TAG}{number:06}", json.dumps(asdict(promotion) | {"at": promotion.at.isoformat()})
    )
    return promotion


def history(registry: ModelRegistry) -> list[Promotion]:
    """List all moves of the champion alias, oldest first.

    Raises
    ------
    ModelArtefactError
        If a record was altered or the registry cannot be reached.
    """
    return [_promotion(tag, stored) for tag, stored in sorted(_tags(registry).items())]


def champion_before(current: int, moves: Sequence[Promotion]) -> int | None:
    """Find the version that a roll-back from `current` goes to; None if there was none before.

    Roll-backs go ever further back: what one of them took back is not returned to.
    """
    champions: list[int] = []
    for move in moves:
        if move.is_roll_back:
            while champions and champions[-1] != move.version:
                champions.pop()
        else:
            champions.append(move.version)
    while champions and champions[-1] == current:
        champions.pop()
    return champions[-1] if champions else None


def _tags(registry: ModelRegistry) -> dict[str, str]:
    tags = registry.tags(FRAUD_MODEL).items()
    return {tag: value for tag, value in tags if tag.startswith(_TAG) and tag.removeprefix(_TAG).isdecimal()}


def _promotion(tag: str, stored: str) -> Promotion:
    try:
        fields = json.loads(stored)
        return Promotion(**fields | {"at": datetime.fromisoformat(fields["at"])})
    except (ValueError, TypeError, KeyError) as error:
        msg = f"Tag {tag!r} of model {FRAUD_MODEL} is no record of a promotion; restore it or delete it in MLflow."
        raise ModelArtefactError(msg) from error
