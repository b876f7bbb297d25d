"""The Celery application of both peers. `BENCH_ACKS_LATE=1` acknowledges a task only once it has run."""

import os

from celery import Celery

from benchmarks.peers.work import Work


def make_app(work: Work) -> Celery:
    """Tasks over Redis, no results kept."""
    app = Celery("peer", broker=work.redis)
    app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)
    if os.environ.get("BENCH_ACKS_LATE"):
        app.conf.update(task_acks_late=True, broker_transport_options={"visibility_timeout": 30})
    return app
