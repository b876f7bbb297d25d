"""What happens to a world from outside, by the names that scenarios give it."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from .process import Process
from .scenario import Incident
from .setting import account_at_provider, in_unit

if TYPE_CHECKING:
    from .world import World


def happen(world: "World", incident: Incident) -> None:
    """Let it happen, and have it end after its time."""
    if incident.kind in _TO_A_PROCESS:
        alive = [process for process in world.processes if process.is_alive]
        if alive:
            _TO_A_PROCESS[incident.kind](world, world.dice.choice(alive), incident.seconds)
        return
    begin, end = _TO_THE_WORLD[incident.kind]
    begin(world)
    if end is not None:
        world.soon(incident.seconds, lambda: end(world))


def make_all_well(world: "World") -> None:
    """Whatever is broken works again, and there is money."""
    world.weather.clear()
    world.site.behave()
    world.is_database_down = False
    world.disk.repair()
    _move_money(world, Decimal(100_000))
    for process in world.processes:
        process.freeze(0)


def _stop(world: "World", process: Process, _: float) -> None:
    process.ask_to_stop()
    world.soon(world.scenario.restart_seconds, lambda: world.start(process.actor))


def _provider(is_down: bool) -> Callable[["World"], None]:
    def change(world: "World") -> None:
        world.weather.is_down = is_down

    return change


def _database(is_down: bool) -> Callable[["World"], None]:
    def change(world: "World") -> None:
        world.is_database_down = is_down

    return change


def _others_spend(world: "World") -> None:
    _move_money(world, -Decimal(world.dice.randrange(1, 20)))


def _move_money(world: "World", credit_amount: Decimal) -> None:
    """Into the balance that pays, or out of it; direct payments have none."""
    account = account_at_provider(world.payer)
    if account is not None:
        world.site.top_up(account, in_unit(world.payer.payment, credit_amount))


def _look(world: "World") -> None:
    world.ask_person(world.person.see_to_holds)
    world.start_all()


def _back_up(world: "World") -> None:
    world.stage.back_up()
    world.is_backed_up = True


def _put_back(world: "World") -> None:
    """What came after the backup is lost, but for what receipts tell of it."""
    if not world.is_backed_up:
        return
    for process in [process for process in world.processes if process.is_alive]:
        world.kill(process)
    world.stage.put_back()
    world.auditor.forget()
    world.is_recovering = True  # until then the provider knows of more than we do
    world.ask_person(world.person.recover)
    world.is_recovering = False
    world.audit()


_TO_A_PROCESS: dict[str, Callable[["World", Process, float], None]] = {
    "kill": lambda world, process, _: world.kill(process),
    "stop": _stop,
    "freeze": lambda _, process, seconds: process.freeze(seconds),
    "session-lost": lambda _, process, __: process.lose_session(),
}
#: How it begins, and how it ends where it does.
_TO_THE_WORLD: dict[str, tuple[Callable[["World"], None], Callable[["World"], None] | None]] = {
    "provider-down": (_provider(True), _provider(False)),
    "database-down": (_database(True), _database(False)),
    "destination-down": (lambda world: world.disk.break_down(), lambda world: world.disk.repair()),
    "others-spend": (_others_spend, None),
    "pause": (lambda world: world.ask_person(world.person.pause), None),
    "cancel": (lambda world: world.ask_person(world.person.cancel), None),
    "look": (_look, None),
    "back-up": (_back_up, None),
    "put-back": (_put_back, None),
}
