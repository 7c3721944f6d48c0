"""A deployment as its operator sees it: environment variables, the command, and Dagster's GraphQL."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

LOCATION = {"repositoryLocationName": "fraud_pipeline", "repositoryName": "__repository__"}
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}


def wait_for[T](look: Callable[[], T], what: str, *, seconds: float) -> T:
    """Look again and again until what is seen is true; returns it."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(0.5)
    return seen
