"""Celery's configuration. Loaded on first use, so that `celery -A workers --help` needs no settings.

Flower shows this to everyone who may look: nothing here is secret but the broker's URL, which Celery masks.
"""

import sys

from orchestrator.base.errors import Unusable
from orchestrator.base.settings import load_settings
from workers.kinds import HINT_EXPIRES_SECONDS, KINDS


def _broker_url() -> str:
    """The broker of the settings; ends the process with exit code 4 where there is none."""
    try:
        url = load_settings().broker_url
    except Unusable as error:
        print(f"error: {error.message}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    if url is None:
        print("error: ORCHESTRATOR_BROKER_URL is not set\nhint: use redis://host:6379/0", file=sys.stderr)
        raise SystemExit(Unusable.exit_code)
    return url.get_secret_value()


# The broker. All three, because Celery lets CELERY_BROKER_URL win over the first alone.
broker_url = broker_read_url = broker_write_url = _broker_url()
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # for ever: work in Postgres does not go away because Redis does
broker_transport_options = {
    "global_keyprefix": "katana-orchestrator:",
    # kombu's default waits for ever on a broker that went away without a word (failover, NAT); redis-py's own, 5 s,
    # is close to the second that a consumer blocks in BRPOP.
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Only hints that were taken and not yet started are under it. There is no result backend to set it for, too.
    "visibility_timeout": 300,
    "unacked_restore_throttle": 1,  # look at every interval (10 s), not at every tenth
}

# Messages: no arguments, no results, no time to run at. Waiting is the column `due_at`.
task_serializer = "json"
accept_content = ["json"]
task_ignore_result = True
result_expires = None  # or beat would send a clean-up of results that nobody keeps
# Acknowledged when started: a hint that dies with its worker is sent again by the next look at what is due, while
# late acknowledgement would deliver a long task twice.
task_acks_late = False
worker_prefetch_multiplier = 1
worker_enable_prefetch_count_reduction = False  # it would hold hints back after a reconnection; they are harmless
task_queues = {kind: {"exchange": kind, "routing_key": kind} for kind in KINDS}
task_routes = {kind: {"queue": kind} for kind in KINDS}
task_create_missing_queues = False

# Events, for Flower: of workers; those of tasks and jobs we send ourselves.
worker_send_task_events = True
task_send_sent_event = False

# One process, one event loop; a thread only waits for a coroutine. (`-P processes` for prefork: Celery takes
# `-P prefork` for "not given".)
worker_pool = "threads"
worker_concurrency = 8
worker_hijack_root_logger = True

# Beat is a safety net: the workers watch what is due themselves. Its base class keeps its schedule in memory, where
# the default one writes a file into the current folder; with fixed intervals there is nothing to remember.
beat_scheduler = "celery.beat:Scheduler"
beat_schedule = {kind: {"task": kind, "schedule": 10.0, "options": {"expires": HINT_EXPIRES_SECONDS}} for kind in KINDS}
