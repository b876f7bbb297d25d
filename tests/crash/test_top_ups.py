"""A top-up dies at each of its boundaries; the same command again ends with one payment."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator.base.ethereum import Account  # eth-account, kept harmless
from orchestrator.sandbox import Sandbox
from orchestrator.store.database import Database

from .arena import End, Running
from .victim import Boundary, Errand
from .visiting import ALL, all_boundaries

TOP_UP = ("orchestrator", "wallet", "top-up", "2", "--yes", "--json")

pytestmark = pytest.mark.timeout(600)


@dataclass
class Purse:
    """A wallet of its own at one provider, in one database."""

    folder: Path
    sandbox: Sandbox
    database_url: str

    def __post_init__(self) -> None:
        self._account = Account.create()

    @property
    def payments(self) -> int:
        """How often this wallet has paid, by the provider's own books."""
        paid = httpx.get(f"{self.sandbox.base_url}/sandbox/payments").json()["payments"]
        return sum(payment["payer"] == self._account.address for payment in paid)

    def run(self, die_at: Boundary | None = None) -> End:
        url = self.sandbox.base_url
        environment = dict(os.environ) | {
            "KATANA_BASE_URL": url,
            "BASE_RPC_URL": f"{url}/rpc/base",
            "EVM_PRIVATE_KEY": "0x" + self._account.key.hex().removeprefix("0x"),
            "ORCHESTRATOR_HOME": str(self.folder / "home"),
            "ORCHESTRATOR_DATABASE_URL": self.database_url,
        }
        return Running(Errand(TOP_UP, environment, self.folder, self.folder / "log", die_at=die_at)).end()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.0) as running:
        yield running


def test_killed_anywhere_a_top_up_is_paid_once(
    tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str
) -> None:
    Purse(tmp_path, sandbox, database_url).run()  # the recipient is pinned by now
    undisturbed = Purse(tmp_path, sandbox, database_url)
    ended = undisturbed.run()
    assert (ended.code, undisturbed.payments) == (0, 1)
    boundaries = all_boundaries(ended.visits)
    assert {"offer.sent", "pay.request", "pay.sent", "pay.answered"} <= {boundary.name for boundary in boundaries}
    committed = [each for each in boundaries if each.name == "db.committed (update payment)"]
    paying = [each for each in boundaries if each.name.startswith(("pay.request", "pay.answered"))]
    wrong = []
    for boundary in boundaries if ALL else [*paying, *committed]:
        purse = Purse(tmp_path, sandbox, database_url)
        was_killed = purse.run(boundary).was_killed
        again = purse.run() if was_killed else ended
        # Once it was reported, and that is written down, the same command asks for another one.
        wanted = 2 if was_killed and boundary == committed[-1] else 1
        if (again.code, purse.payments) != (0, wanted):
            wrong.append(f"killed at {boundary}: exit {again.code}, {purse.payments} payments")
    assert not wrong, (wrong, (tmp_path / "log").read_text()[-3000:])
