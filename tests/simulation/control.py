"""What a simulation takes hold of in its own process: every source of randomness, and the log."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def determined(seed: int) -> Iterator[None]:
    """Every source of randomness gives what the seed says: jitter, ids that are drawn as uuid4, and nonces (`secrets`
    asks the `random` module for the system's bytes).
    """
    state = random.getstate()
    system = random.Random(f"ids {seed}").randbytes
    try:
        with mock.patch("os.urandom", system), mock.patch("random._urandom", system):
            random.seed(f"jitter {seed}")
            yield
    finally:
        random.setstate(state)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """The lines that are logged; nothing of it is shown."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]  # one line for a handler
    logger = logging.getLogger("orchestrator")
    before = logger.propagate, logger.level
    logger.propagate, logger.level = False, logging.INFO
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
