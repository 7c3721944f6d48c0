"""The code location that Dagster loads."""

from fraud_pipeline.connections import open_logs
from fraud_pipeline.orchestration.build import build_definitions
from fraud_pipeline.settings import Settings

settings = Settings.from_env()
open_logs(settings)
defs = build_definitions(settings)
