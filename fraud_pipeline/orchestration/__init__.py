"""Dagster: assets, jobs, schedules, sensors, and the one place that assembles them."""

import warnings

import dagster

# Preview and beta interfaces used on purpose: metadata and checks per partition in a range run, owners, pools.
warnings.filterwarnings("ignore", category=dagster.PreviewWarning)
warnings.filterwarnings("ignore", category=dagster.BetaWarning)
