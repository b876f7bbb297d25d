"""What a simulation takes hold of in its own process: every source of randomness, and the log."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock


@contextmanager
def determined(seed: int) -> Iterator[None]:
    """Every source of randomness gives what the seed says: jitter, and the ids that are drawn as uuid4."""
    state = random.getstate()
    try:
        with mock.patch("os.urandom", random.Random(f"ids {seed}").randbytes):
            random.seed(f"jitter {seed}")
            yield
    finally:
        random.setstate(state)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """The lines that are logged; nothing of it is shown."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("orchestrator")
    before = logger.propagate, logger.level
    logger.propagate, logger.level = False, logging.INFO
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
