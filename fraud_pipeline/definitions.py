"""The code location that Dagster loads."""

from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.settings import Settings

defs = build_definitions(Settings.from_env())
