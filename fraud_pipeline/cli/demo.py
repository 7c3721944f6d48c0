"""The whole path on simulated data."""

from datetime import timedelta

from fraud_pipeline.adapters.lake import Lake
from fraud_pipeline.adapters.landing_zone import LandingZone
from fraud_pipeline.cli.console import console
from fraud_pipeline.cli.data import SIMULATED, ingest_path, write_simulation
from fraud_pipeline.cli.runs import measure_days, newest_day, require_days, run_days, train_models
from fraud_pipeline.cli.summary import print_summary
from fraud_pipeline.core.errors import ConfigurationError
from fraud_pipeline.core.schema import FEATURE_SET_VERSION
from fraud_pipeline.core.simulation import SimulationConfig
from fraud_pipeline.core.splits import TrainingWindows
from fraud_pipeline.orchestration.jobs import PREPARE
from fraud_pipeline.settings import Settings

DAYS, NIGHTS, LABEL_DAYS = 60, 7, 21
USERS, MERCHANTS, SEED = 1500, 600, 0


def show(settings: Settings) -> None:
    """Make the state of the demo unless it is there, and print its summary.

    Raises
    ------
    ConfigurationError
        If the days of the demo are not over, or the deployment holds other data.
    """
    first = settings.first_day
    latest = newest_day(settings) - timedelta(days=DAYS - 1)
    if first > latest:
        raise ConfigurationError(
            f"the demo needs {DAYS} days that are over, from FRAUD_PIPELINE_FIRST_DAY {first}; set it to {latest} "
            "or earlier."
        )
    days = require_days(settings, first, first + timedelta(days=DAYS - 1))
    nights = days[-NIGHTS:]
    lake = Lake(settings.lake)
    this_demo = [FEATURE_SET_VERSION, first.isoformat(), DAYS, NIGHTS, USERS, MERCHANTS, SEED]
    if lake.exists_json("demo") and lake.read_json("demo") == this_demo:
        console.print("The demo is already in place; `make clean` starts afresh.")
    else:
        _refuse_other_data(settings)
        files = settings.home / "simulated"
        config = SimulationConfig(users=USERS, merchants=MERCHANTS, seed=SEED, first_day=first)
        write_simulation(files, config, DAYS, LABEL_DAYS, settings.currency)
        ingest_path(settings, files, files / "source.yaml")
        run_days(settings, days[:-NIGHTS], nightly=False, job=PREPARE)
        windows = TrainingWindows.ending(
            nights[0],
            first_day=first,
            maturity_days=settings.label_maturity_days,
            calibration_days=settings.calibration_days,
            training_days=settings.training_days,
        )
        train_models(settings, windows)
        run_days(settings, nights, nightly=True)
        measure_days(settings, nights)
        lake.write_json("demo", this_demo)
    print_summary(settings, nights[0], nights[-1])
    console.print(
        "Next        make ui    every run, asset, check and plot in the browser\n"
        "            make psql  the alert database, for example:\n"
        "                       select * from alerts where selection = 'threshold'\n"
        "                       order by priority limit 5;\n"
        "            make stop  ends what was started;  make clean  removes it"
    )


def _refuse_other_data(settings: Settings) -> None:
    others = [source.name for source in LandingZone(settings.landing).sources() if source.name != SIMULATED]
    if others:
        raise ConfigurationError(
            f"the landing zone {settings.landing} holds files of {', '.join(others)}, which the demo would mix with "
            "its own; set FRAUD_PIPELINE_HOME to an empty folder for the demo."
        )
