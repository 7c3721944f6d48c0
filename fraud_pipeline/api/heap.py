"""What is loaded for good is kept out of the sight of the garbage collector.

A full collection looks at every object, and those of libraries and model are more than a million: while they load it
takes a quarter of the time and finds nothing, and later it would stop all requests for a third of a second every time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def hold() -> None:
    """Collect nothing until :func:`loading` ends: for the beginning of a process that serves."""
    gc.disable()


@contextmanager
def loading() -> Iterator[None]:
    """Collect nothing inside; then collect once, and never look again at what is left."""
    hold()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        gc.enable()
