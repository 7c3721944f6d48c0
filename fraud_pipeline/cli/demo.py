"""The command that shows the whole path on simulated data."""

from datetime import timedelta

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.data import ingest_path, write_simulation
from fraud_pipeline.cli.runs import measure_days, require_days, run_days, train_models
from fraud_pipeline.cli.summary import print_summary
from fraud_pipeline.core.schema import FEATURE_SET_VERSION
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline.settings import Settings

DAYS, NIGHTS, LABEL_DAYS = 60, 7, 21
USERS, MERCHANTS, SEED = 1500, 600, 0


def demo() -> None:
    """Simulate 60 days, train, score the last 7 nights one by one, and print what came of it."""
    settings = Settings.from_env()
    first = settings.first_day
    days = require_days(settings, first, first + timedelta(days=DAYS - 1))
    history, nights = days[:-NIGHTS], days[-NIGHTS:]
    lake = Lake(settings.lake)
    this_demo = [FEATURE_SET_VERSION, first.isoformat(), DAYS, NIGHTS, USERS, MERCHANTS, SEED]
    if lake.exists("anomaly_scores", nights[-1]) and lake.read_json("demo") == this_demo:
        console.print("The demo is already in place; `make clean` starts afresh.")
    else:
        files = settings.home / "simulated"
        config = SimulationConfig(users=USERS, merchants=MERCHANTS, seed=SEED, first_day=first)
        write_simulation(files, config, DAYS, LABEL_DAYS, settings.currency)
        ingest_path(settings, files, files / "source.yaml")
        run_days(settings, history, nightly=False, job=PREPARE)
        windows = TrainingWindows.ending(
            nights[0],
            first_day=first,
            maturity_days=settings.label_maturity_days,
            calibration_days=settings.calibration_days,
            training_days=settings.training_days,
        )
        train_models(settings, {name: str(day) for name, day in vars(windows).items()})
        run_days(settings, nights, nightly=True)
        measure_days(settings, nights)
        lake.write_json("demo", this_demo)
    print_summary(settings, nights[0], nights[-1])
    console.print(
        "Next        make ui    every run, asset, check and plot in the browser\n"
        "            make psql  the alert database:  select * from alerts order by priority, anomaly_score desc limit 5;\n"
        "            make stop  ends what was started;  make clean  removes it"
    )
