"""The champion in use: loaded once, and changed for another without a pause when the alias moves."""

import logging
import threading
from collections.abc import Callable

from fraud_pipeline.adapters.model_store import ModelStore, StoredModel
from fraud_pipeline.api import heap
from fraud_pipeline.core.errors import FraudPipelineError

_log = logging.getLogger("fraud_pipeline.api")


class ChampionWatch:
    """Follows the champion alias in a thread of its own.

    A new champion is loaded and warmed up beside the old one, and only then takes its place. Whoever computes
    takes :attr:`current` once and keeps to it. A registry that cannot be reached changes nothing.

    Parameters
    ----------
    store : ModelStore
        Checks digests.
    warm_up : callable
        Computes something with a model, so that its first real use takes no longer than others.
    seconds : float
        Between two looks at the alias.
    """

    def __init__(self, store: ModelStore, warm_up: Callable[[StoredModel], None], seconds: float) -> None:
        self._store = store
        self._warm_up = warm_up
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champion", daemon=True)
        self._problem: str | None = None
        self.current: StoredModel | None = None

    def start(self) -> None:
        """Begin to load; comes back at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after what it is loading."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def refresh(self) -> None:
        """Look at the alias once.

        Raises
        ------
        ModelArtefactError
            If the registry cannot be reached or the new champion cannot be used; the present one stays.
        """
        champion = self._store.champion()
        if champion is None or champion is self.current:
            return
        self._warm_up(champion)
        self.current = champion
        _log.info("model version %s scores from now on", champion.version.version)

    def _run(self) -> None:
        with heap.loading():
            self._look()
        while not self._stopped.wait(self._seconds):
            self._look()

    def _look(self) -> None:
        try:
            self.refresh()
            self._problem = None
        except FraudPipelineError as error:
            # Once, not every few seconds.
            if str(error) != self._problem:
                _log.error("the champion cannot be loaded: %s", error)
            self._problem = str(error)
