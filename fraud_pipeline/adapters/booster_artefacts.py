"""Boosters as bytes in XGBoost's own UBJ format, audited before XGBoost reads them.

XGBoost trusts what it loads: given other bytes it may abort or hang the whole process, and a
node that points outside its tree is followed. So the bytes are decoded here first and loaded only if
they are, key for key and type for type, what the installed library itself writes, and every
tree is a tree. Not guarded: thresholds and leaves that were altered to other finite numbers; only the
digest (see `ModelRegistry.read`) tells them.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fraud_pipeline.adapters import ubjson
from fraud_pipeline.core.errors import ModelArtefactError

if TYPE_CHECKING:
    from xgboost import Booster

_COUNTS: Final = ("num_feature", "num_nodes", "num_trees")
_BASE_SCORE: Final = re.compile(r"\[?\d(\.\d+)?(E-?\d{1,2})?\]?")
_NO_PARENT: Final = 2**31 - 1


def dump_boosters(boosters: Sequence["Booster"]) -> dict[str, bytes]:
    """Write boosters, one file each.

    Parameters
    ----------
    boosters : sequence of xgboost.Booster
        Trained with ``binary:logistic`` on numbers.

    Returns
    -------
    dict of str to bytes
        Contents by file name, which `load_boosters` reads back.

    Raises
    ------
    ModelArtefactError
        If `load_boosters` would refuse them: training fails, not the night that scores with the model.
    """
    files = {f"booster_{position:02}.ubj": bytes(each.save_raw("ubj")) for position, each in enumerate(boosters)}
    for name, payload in files.items():
        _require_sound(name, payload)
    return files


def load_boosters(files: Mapping[str, bytes]) -> tuple["Booster", ...]:
    """Read the boosters that `dump_boosters` wrote.

    Parameters
    ----------
    files : mapping of str to bytes
        Contents by file name; their digest has been checked. Files that are no ``.ubj`` are passed over.

    Returns
    -------
    tuple of xgboost.Booster
        They predict with all cores.

    Raises
    ------
    ModelArtefactError
        If there is none, or one is not exactly what XGBoost would have written.
    """
    from xgboost import Booster
    from xgboost.core import XGBoostError

    names = sorted(name for name in files if name.endswith(".ubj"))
    if not names:
        raise ModelArtefactError("The model artefact holds no booster; train and register the model again.")
    for name in names:
        _require_sound(name, files[name])
    try:
        return tuple(Booster(model_file=bytearray(files[name])) for name in names)
    except XGBoostError as error:
        raise ModelArtefactError(_unsound(" or ".join(names), error)) from error


def _require_sound(name: str, payload: bytes) -> None:
    try:
        document = ubjson.decode(payload)
        _require_like(document, _pattern(), "model")
        if document["version"] != _pattern()["version"]:
            raise ValueError(f"it is of XGBoost {document['version']}")
        _require_consistent(document["learner"])
    except ValueError as error:
        raise ModelArtefactError(_unsound(name, error)) from error


def _unsound(name: str, error: Exception) -> str:
    reason = str(error).partition("\n")[0]
    return (
        f"The model artefact {name} is not a sound XGBoost model: {reason}. "
        "It was not loaded; restore the file or train and register the model again."
    )


@cache
def _pattern() -> Any:  # noqa: ANN401 - any JSON value
    """Give what the installed library writes of a small model."""
    import xgboost

    data = xgboost.DMatrix(np.array([[0.0], [1.0]]), np.array([0.0, 1.0]), nthread=1)
    params = {"objective": "binary:logistic", "tree_method": "hist", "min_child_weight": 0, "nthread": 1}
    return ubjson.decode(bytes(xgboost.train(params, data, 1).save_raw("ubj")))


def _require_like(value: Any, pattern: Any, path: str) -> None:  # noqa: ANN401 - any JSON value
    """Raise unless types, keys and fixed texts are those of `pattern`; lists may be longer."""
    name = path.rpartition(".")[2]
    if type(value) is not type(pattern):
        raise ValueError(f"{path} is of another type")
    if isinstance(pattern, dict):
        if value.keys() != pattern.keys():
            raise ValueError(f"{path} has other keys")
        for key in pattern:
            _require_like(value[key], pattern[key], f"{path}.{key}")
    elif isinstance(pattern, list):
        if value and not pattern:
            raise ValueError(f"{path} is not empty")
        for item in value:
            _require_like(item, pattern[0], f"{path}[]")
    elif isinstance(pattern, np.ndarray):
        if value.dtype != pattern.dtype or not np.isfinite(value).all():
            raise ValueError(f"{path} is of another type or not finite")
    elif name in _COUNTS:
        if not re.fullmatch(r"[1-9]\d{0,8}", value):
            raise ValueError(f"{path} is no count")
    elif name == "base_score":
        if not _BASE_SCORE.fullmatch(value) or not 0 < np.float32(value.strip("[]")) < 1:
            raise ValueError(f"{path} is no share")
    elif isinstance(pattern, str) and value != pattern:
        raise ValueError(f"{path} is not {pattern!r}")


def _require_consistent(learner: Mapping[str, Any]) -> None:
    """Raise unless the counts are right and every node has its place in its tree."""
    model = learner["gradient_booster"]["model"]
    features = learner["learner_model_param"]["num_feature"]
    trees = model["trees"]
    if (
        int(model["gbtree_model_param"]["num_trees"]) != len(trees)
        or model["tree_info"] != [0] * len(trees)
        or model["iteration_indptr"] != list(range(len(trees) + 1))
        or [tree["id"] for tree in trees] != list(range(len(trees)))
    ):
        raise ValueError("trees are missing or out of order")
    for position, tree in enumerate(trees):
        if tree["tree_param"]["num_feature"] != features:
            raise ValueError(f"tree {position} reads another number of features")
        if not _is_tree(tree, int(features)):
            raise ValueError(f"the nodes of tree {position} do not form a tree")


def _is_tree(tree: Mapping[str, Any], features: int) -> bool:
    nodes = int(tree["tree_param"]["num_nodes"])
    per_node = [
        values for name, values in tree.items() if isinstance(values, np.ndarray) and not name.startswith("categories")
    ]
    if any(len(values) != nodes for values in per_node):
        return False
    left, right = tree["left_children"], tree["right_children"]
    inner = np.flatnonzero(left != -1)
    children = np.concatenate([left[inner], right[inner]])
    return bool(
        (right[left == -1] == -1).all()
        and (children > np.tile(inner, 2)).all()
        # Each node but the root is the child of exactly one other.
        and np.array_equal(np.sort(children), np.arange(1, nodes))
        and tree["parents"][0] == _NO_PARENT
        and np.array_equal(tree["parents"][children], np.tile(inner, 2))
        and ((tree["split_indices"] >= 0) & (tree["split_indices"] < features)).all()
        and (tree["split_type"] == 0).all()
        and (tree["default_left"] <= 1).all()
        # Contributions divide by it.
        and (tree["sum_hessian"] > 0).all()
        and not any(len(tree[name]) for name in tree if name.startswith("categories"))
    )
