"""The second driver of the steps, Celery: `celery -A workers worker`, `beat` and `flower`.

Postgres holds every fact. A message is a hint, "there may be due work of this kind", and carries nothing, so that
losing, repeating or delaying messages changes no outcome.
"""

from workers.app import app

__all__ = ["app"]
