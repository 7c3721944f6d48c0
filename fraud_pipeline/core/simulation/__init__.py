"""A seeded simulator of card transactions, frauds and their late labels, for demonstrations and tests."""

from fraud_pipeline.core.simulation.configuration import FRAUD_SCENARIOS, ScenarioMix, SimulationConfig
from fraud_pipeline.core.simulation.delivery import (
    DayOfTransactions,
    SimulatedDay,
    labels_known_on,
    simulate,
    simulate_day,
)
from fraud_pipeline.core.simulation.dirt import DIRT, spoil
from fraud_pipeline.core.simulation.labelling import MAX_LABEL_DELAY_DAYS
from fraud_pipeline.core.simulation.population import Population, build_population

__all__ = [
    "DIRT",
    "FRAUD_SCENARIOS",
    "MAX_LABEL_DELAY_DAYS",
    "DayOfTransactions",
    "Population",
    "ScenarioMix",
    "SimulatedDay",
    "SimulationConfig",
    "build_population",
    "labels_known_on",
    "simulate",
    "simulate_day",
    "spoil",
]
