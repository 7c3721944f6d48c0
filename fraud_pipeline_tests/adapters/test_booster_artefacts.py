"""Boosters as bytes: the same to the last bit, and whatever else is refused before XGBoost reads it."""

import numpy as np
import pytest
import xgboost

from fraud_pipeline.adapters.booster_artefacts import dump_boosters, load_boosters
from fraud_pipeline.core.errors import ModelArtefactError

RNG = np.random.default_rng(7)
ROWS = RNG.normal(size=(800, 6))
IS_FRAUD = ROWS[:, 0] + RNG.normal(size=800) > 2


def train(**params: object) -> xgboost.Booster:
    settings = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 3, "nthread": 1}
    return xgboost.train(settings | params, xgboost.DMatrix(ROWS, IS_FRAUD, nthread=1), 8)


BOOSTER = train()
PAYLOAD = dump_boosters([BOOSTER])["booster_00.ubj"]


def predictions(booster: xgboost.Booster) -> list[np.ndarray]:
    rows = xgboost.DMatrix(ROWS[:50], nthread=1)
    return [booster.predict(rows), booster.predict(rows, pred_contribs=True)]


def test_loaded_boosters_come_in_order_with_the_very_same_scores_and_contributions() -> None:
    boosters = [train(seed=seed, subsample=0.5) for seed in range(11)]
    loaded = load_boosters({"detector.json": b"{}", **dump_boosters(boosters)})
    assert len(loaded) == 11
    for one, other in zip(loaded, boosters, strict=True):
        for found, expected in zip(predictions(one), predictions(other), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_file_is_the_model_in_xgboosts_own_format() -> None:
    assert bytes(BOOSTER.save_raw("ubj")) == PAYLOAD


def test_no_booster_is_refused() -> None:
    with pytest.raises(ModelArtefactError, match="holds no booster; train"):
        load_boosters({"detector.json": b"{}"})


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "reg:squarederror"},
        {"booster": "gblinear"},
        {"num_parallel_tree": 2},
        {"objective": "multi:softprob", "num_class": 2},
    ],
)
def test_a_booster_that_could_not_be_loaded_again_is_not_stored(params: dict[str, object]) -> None:
    if "booster" in params:
        params = {**params, "tree_method": None}
    with pytest.raises(ModelArtefactError, match=r"booster_00\.ubj is not a sound XGBoost model"):
        dump_boosters([train(**params)])


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"{", b"{}", b"not a model", PAYLOAD[: len(PAYLOAD) // 2], PAYLOAD[:-1], PAYLOAD + b"x"]
)
def test_bytes_that_are_no_booster_are_refused(payload: bytes) -> None:
    with pytest.raises(ModelArtefactError, match=r"a\.ubj is not a sound XGBoost model: .* It was not loaded"):
        load_boosters({"a.ubj": payload})


def altered(name: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite some bytes after the first occurrence of a name."""
    start = PAYLOAD.index(name) + len(name) + offset
    return PAYLOAD[:start] + value + PAYLOAD[start + len(value) :]


def node(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


ARRAY = len(b"[$l#L") + 8
TEXT = len(b"SL") + 8


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (altered(b"left_children", ARRAY, node(10**6)), "nodes of tree 0 do not form a tree"),
        (altered(b"left_children", ARRAY, node(0)), "nodes of tree 0 do not form a tree"),
        (altered(b"parents", ARRAY, node(0)), "nodes of tree 0 do not form a tree"),
        (altered(b"split_indices", ARRAY, node(6)), "nodes of tree 0 do not form a tree"),
        (altered(b"split_indices", ARRAY, node(-1)), "nodes of tree 0 do not form a tree"),
        (altered(b"sum_hessian", ARRAY, node(0)), "nodes of tree 0 do not form a tree"),
        (altered(b"num_nodes", TEXT, b"9"), "nodes of tree 0 do not form a tree"),
        (altered(b"num_nodes", TEXT, b"0"), "num_nodes is no count"),
        (altered(b"split_conditions", ARRAY, b"\x7f\xc0\x00\x00"), "split_conditions is of another type or not finite"),
        (altered(b"base_weights", len(b"[$"), b"l"), "base_weights is of another type"),
        (altered(b"num_trees", TEXT, b"9"), "trees are missing or out of order"),
        (altered(b"learner_model_param", 0, b"["), "is of another type|unknown|expected"),
        (altered(b"attribut", 0, b"xx"), "model.learner has other keys"),
        (altered(b"version[#L", 9, b"\x02"), "it is of XGBoost"),
        (altered(b"num_feature", TEXT, b"5"), "tree 0 reads another number of features"),
        (PAYLOAD.replace(b"binary:logistic", b"binary:logitraw"), "is not 'binary:logistic'"),
        (altered(b"base_score", TEXT, b"[-"), "base_score is no share"),
        (altered(b"attributes", 0, b"i\x01"), "model.learner.attributes is of another type"),
        (PAYLOAD.replace(b"names[#L" + bytes(8), b"names[#L" + bytes(7) + b"\x01i\x01"), "feature_names is not empty"),
    ],
)  # fmt: skip
def test_a_model_that_xgboost_would_stumble_over_is_refused(payload: bytes, message: str) -> None:
    assert payload != PAYLOAD
    with pytest.raises(ModelArtefactError, match=message):
        load_boosters({"a.ubj": payload})


def test_what_only_xgboost_finds_wrong_is_reported_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from fraud_pipeline.adapters import booster_artefacts

    monkeypatch.setattr(booster_artefacts, "_require_sound", lambda *_: None)
    with pytest.raises(ModelArtefactError, match=r"a\.ubj is not a sound XGBoost model: .*It was not loaded"):
        load_boosters({"a.ubj": b"{}"})


def test_garbled_bytes_are_refused_or_give_finite_scores() -> None:
    """XGBoost itself aborts, hangs or crashes on some of these, which would end the tests."""
    refused = 0
    for position in RNG.choice(len(PAYLOAD), size=150, replace=False):
        garbled = bytearray(PAYLOAD)
        garbled[position] ^= int(RNG.choice([1, 16, 128, 255]))
        try:
            (loaded,) = load_boosters({"a.ubj": bytes(garbled)})
        except ModelArtefactError:
            refused += 1
        else:
            assert all(np.isfinite(found).all() for found in predictions(loaded))
    assert refused > 75
