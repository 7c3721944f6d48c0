"""From the rounds of a backtest to its report."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fraud_pipeline.core import evaluation
from fraud_pipeline.core.backtest import MODELS, RoundResult
from fraud_pipeline.core.evaluation import BacktestReport
from fraud_pipeline.core.splits import BacktestRound

RESAMPLES = 200


def summarise(
    rounds: Sequence[BacktestRound],
    results: Mapping[int, Sequence[RoundResult]],
    protocol: Mapping[str, Any],
) -> BacktestReport:
    """Put the figures of all rounds and seeds together.

    Parameters
    ----------
    rounds : sequence of BacktestRound
    results : mapping of seed to sequence of RoundResult
        One result a round, in order.
    protocol : mapping
        What else the report says of how it came about; JSON-able.

    Returns
    -------
    BacktestReport
        With the models that every round could train.
    """
    names = [name for name in MODELS if all(name in each.scored for seed in results.values() for each in seed)]
    models, scenarios, curves, weeks, volumes = {}, [], {}, [], []
    for name in names:
        figures: list[list[evaluation.Figures]] = []
        for seed, of_seed in results.items():
            figures.append([])
            for number, (each, result) in enumerate(zip(rounds, of_seed, strict=True), start=1):
                scored = result.scored[name]
                figures[-1].append(evaluation.evaluate(scored, resamples=RESAMPLES, seed=seed))
                window = {"test_from": each.test_from.isoformat(), "test_to": each.test_to.isoformat()}
                weeks.append({"round": number, **window, "seed": seed, "model": name, **figures[-1][-1].value})
                daily = scored.groupby("day", sort=True)[["is_alert", "is_fraud"]].sum().reset_index()
                volumes.append(daily.rename(columns={"is_alert": "alerts", "is_fraud": "frauds"}).assign(model=name))
        models[name] = evaluation.combine(figures)
        frames = [result.scored[name] for of_seed in results.values() for result in of_seed]
        curves[name] = evaluation.mean_curve([evaluation.curve(frame) for frame in frames])
        kinds = evaluation.by_scenario(pd.concat(frames, ignore_index=True))
        # Every seed sees the same frauds.
        scenarios.append(kinds.assign(model=name, frauds=kinds["frauds"] // len(results)))
    return BacktestReport(
        protocol={**protocol, "rounds": [_describe(each, results, n) for n, each in enumerate(rounds)]},
        models=models,
        weeks=pd.DataFrame(weeks),
        scenarios=pd.concat(scenarios, ignore_index=True),
        curves=curves,
        volumes=pd.concat(volumes, ignore_index=True),
        warnings=_warnings(rounds, results),
    )


def _describe(each: BacktestRound, results: Mapping[int, Sequence[RoundResult]], number: int) -> dict[str, Any]:
    windows = each.windows
    of_round = [of_seed[number] for of_seed in results.values()]
    champion = [result.calibrations["champion"] for result in of_round]
    return {
        "train": f"{windows.train_from} to {windows.train_to}",
        "calibrate": f"{windows.calibrate_from} to {windows.calibrate_to}",
        "test": f"{each.test_from} to {each.test_to}",
        "scoring_mode": ", ".join(dict.fromkeys(result.mode for result in of_round)),
        "threshold": [fitted.threshold for fitted in champion],
        "adjustment": "; ".join(dict.fromkeys(fitted.adjustment for fitted in champion if fitted.adjustment)),
        "expected_alerts_per_day": [fitted.alerts_per_day.value for fitted in champion],
        "reviewed": sum(result.reviewed for result in of_round) // len(of_round),
        "reviewed_frauds": sum(result.reviewed_frauds for result in of_round) // len(of_round),
    }


def _warnings(rounds: Sequence[BacktestRound], results: Mapping[int, Sequence[RoundResult]]) -> list[str]:
    found = []
    for number, each in enumerate(rounds):
        for of_seed in results.values():
            fitted = of_seed[number].calibrations["champion"]
            where = f"test from {each.test_from}"
            found += [f"{where}: {fitted.limit}"] if fitted.limit else []
            found += [f"{where}: no fraud was known, the threshold is {fitted.aim}"] if not fitted.recall.known else []
    return list(dict.fromkeys(found))
