"""A worker process in the simulation: its own event loop, engine and database session, and the ways it dies."""

from dataclasses import dataclass

from orchestrator.base.settings import Settings
from orchestrator.chain.chains import Chains
from orchestrator.engine.local import LocalDriver, Tempo
from orchestrator.engine.runtime import Engine
from orchestrator.katana.client import KatanaClient
from orchestrator.operations.opening import make_engine
from orchestrator.payments.payer import Payer
from orchestrator.store.accounts import Scope
from orchestrator.store.database import OutOfReach

from .network import Assets, Carrier, Network, Transport
from .site import API_ORIGIN
from .stage import Stage
from .virtual import Killed, VirtualClock, VirtualLoop


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all processes of a world share."""

    stage: Stage
    clock: VirtualClock
    network: Network
    settings: Settings
    payer: Payer
    scope: Scope
    tempo: Tempo


class Process:
    """Works the batches in scope from the moment it is made, whenever its loop is turned."""

    def __init__(self, actor: str, world: Surroundings, loop: VirtualLoop) -> None:
        self.actor = actor
        self.loop = loop
        self._world = world
        self._engine: Engine | None = None
        self._driver: LocalDriver | None = None
        self._task = loop.create_task(self._main())

    async def _main(self) -> None:
        world = self._world
        self._engine = make_engine(
            world.settings,
            world.stage.databases[self.actor],
            self._client(),
            Assets(world.network),
            world.scope,
            world.clock,
            payer=world.payer,
            chains=self._chains(),
        )
        self._driver = LocalDriver(self._engine, world.tempo)
        try:
            await self._driver.run()
        finally:
            if not self.loop.is_killed:
                self._engine.close()
                self._wait_until_unlocked()

    def _client(self) -> KatanaClient:
        payer, carrier = self._world.payer, Carrier(self._world.network)
        return KatanaClient(
            API_ORIGIN,
            payer.headers,
            carrier=carrier,
            clock=self._world.clock,
            proof=payer.proof,
            balance_of=payer.balance_of,
        )

    def _chains(self) -> Chains:
        settings = self._world.settings
        return Chains(settings.base_rpc_url, settings.solana_rpc_url, transport=Transport(self._world.network))

    @property
    def is_alive(self) -> bool:
        return not self.loop.is_killed and not self._task.done()

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        if self._driver is not None:
            self.loop.call_soon(self._driver.stop)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.loop.stopped_until = self._world.clock.monotonic() + seconds

    def kill(self) -> None:
        """SIGKILL: nothing of it runs any more, and Postgres sees its session end."""
        self.loop.is_killed = True
        self.lose_session()

    def lose_session(self) -> None:
        """The connection that its leases live by is cut."""
        if self._engine is not None:
            self._engine._session.close()
            self._wait_until_unlocked()

    def _wait_until_unlocked(self) -> None:
        assert self._engine is not None
        self._world.stage.wait_until_unlocked(self._engine._session.number)

    def fault(self) -> BaseException | None:
        """What it ended with, where that was not meant."""
        if not self._task.done() or self._task.cancelled():
            return None
        error = self._task.exception()
        return None if isinstance(error, Killed | OutOfReach) else error
