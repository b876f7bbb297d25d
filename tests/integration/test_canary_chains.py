"""A careful start of chains: the canaries of every model run, whatever they need, before anyone is asked."""

from orchestrator.operations.approving import approve
from orchestrator.store.chains import pass_on_ends
from orchestrator.store.settling import settle_batch
from orchestrator.store.tables import jobs

from .engine_site import BATCH, Site
from .test_chains import clip, codes, picture, run, site, states, yes

__all__ = ["site"]


def test_a_canary_of_each_model_runs_in_whichever_order_they_stand(site: Site) -> None:
    heroes = [picture(f"hero-{n}") for n in range(3)]
    document = run(site, *heroes, *(clip(f"turn-{n}", f"hero-{n}") for n in reversed(range(3))), canary=1)
    assert (document["state"], codes(document)) == ("held", ["canary"])
    assert document["holds"][0]["message"].startswith("gpt-image-2: 1 job, ")
    assert "ltx-2-3: 1 job, " in document["holds"][0]["message"]
    assert {name for name, state in states(site).items() if state == "completed"} == {"hero-0", "turn-0"}
    assert approve(BATCH, site.settings, confirm=yes)["state"] == "completed"


def test_a_canary_behind_a_gate_runs_before_anyone_is_asked_about_the_rest(site: Site) -> None:
    heroes = [picture(f"hero-{n}", has_gate=n == 0) for n in range(2)]
    document = run(site, *heroes, *(clip(f"turn-{n}", f"hero-{n}") for n in range(2)), canary=1)
    assert (document["state"], codes(document)) == ("held", ["gate"])
    document = approve(BATCH, site.settings, job="hero-0", confirm=yes)
    assert (document["state"], codes(document)) == ("held", ["canary"])
    assert "ltx-2-3: 1 job, " in document["holds"][0]["message"]
    assert states(site) == {"hero-0": "completed", "hero-1": "waiting", "turn-0": "completed", "turn-1": "waiting"}
    assert approve(BATCH, site.settings, confirm=yes)["state"] == "completed"


def test_nobody_is_asked_while_the_end_of_a_canary_is_to_be_passed_on(site: Site) -> None:
    assert codes(run(site, picture("hero-0"), picture("hero-1"), canary=1)) == ["canary"]
    with site.database.begin() as connection:
        connection.execute(jobs.update().where(jobs.c.name == "hero-0").values(dependents_due=True))
        settle_batch(connection, BATCH)
    assert codes(site.document()) == []
    with site.database.begin() as connection:
        pass_on_ends(connection, BATCH)
        settle_batch(connection, BATCH)
    assert codes(site.document()) == ["canary"]
