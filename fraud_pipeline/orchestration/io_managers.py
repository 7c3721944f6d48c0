"""Hands small facts from one training asset to the next, as JSON in the lake."""

from typing import Any

import dagster as dg

from fraud_pipeline.adapters.lake import Lake


class JsonIOManager(dg.IOManager):
    """Stores an unpartitioned asset's JSON-able value as ``<asset>.json`` in the lake.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:  # noqa: ANN401 - any JSON value
        """Write the value."""
        self._lake.write_json(context.asset_key.path[-1], obj)

    def load_input(self, context: dg.InputContext) -> Any:  # noqa: ANN401 - any JSON value
        """Read the value that the upstream asset wrote last."""
        return self._lake.read_json(context.asset_key.path[-1])
