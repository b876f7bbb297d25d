"""One HTTP session for all threads, with a connection for each job at the provider."""

import requests
from requests.adapters import HTTPAdapter

from benchmarks.peers.work import HEADERS, Work


def shared_session(work: Work) -> requests.Session:
    """A session as the documentation of requests has it, its pool as large as the cap."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=work.cap))
    session.headers.update(HEADERS)
    return session
