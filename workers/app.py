"""The Celery app: configured when it is first used, with one queue a kind of work."""

from celery import Celery

from workers import flower, logs
from workers.watch import Watch

app = Celery("workers", include=["workers.tasks"])
app.config_from_object("workers.config")
app.on_after_configure.connect(logs.connect)
app.steps["worker"].add(Watch)
flower.prepare()
