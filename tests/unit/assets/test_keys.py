"""Keys are safe whatever ids and labels are, and different things never meet."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.assets.keys import (
    DEFAULT_TEMPLATE,
    KeyFields,
    check_template,
    index_key,
    job_slug,
    render_key,
    rendition_key,
)

SHA256 = "1f9c2b7e" + "0" * 56
ALLOWED = set(string.ascii_letters + string.digits + "._-")
texts = st.text(min_size=1, max_size=300)


def fields(job: str = "mug", **labels: str) -> KeyFields:
    return KeyFields("spring-catalog", "spring-catalog-20261122-7f3a", job, 0, "2026-11-22", SHA256, ".png", labels)


def test_the_default_key() -> None:
    assert render_key(DEFAULT_TEMPLATE, fields()) == "spring-catalog/mug/0-1f9c2b7e.png"


def test_every_field() -> None:
    key = render_key("{date}/{batch}/{label.shop}/{label.none}/{name}-{job}-{index}-{sha8}{ext}", fields(shop="b l"))
    shop = job_slug("b l")
    assert key == f"2026-11-22/spring-catalog-20261122-7f3a/{shop}/none/spring-catalog-mug-0-1f9c2b7e.png"


def test_a_template_without_the_hash_gets_it() -> None:
    assert render_key("{name}/{job}{ext}", fields()) == "spring-catalog/mug-1f9c2b7e.png"
    assert render_key("{name}/{job}", fields()) == "spring-catalog/mug-1f9c2b7e"


def test_a_template_s_own_text_is_made_safe() -> None:
    assert render_key("Frühling 1/{job}-{sha8}{ext}", fields()) == "Fr-hling-1/mug-1f9c2b7e.png"


def test_renditions_and_index_have_their_places() -> None:
    assert rendition_key(fields(), "thumbnail") == ".renditions/spring-catalog/mug/0-thumbnail-1f9c2b7e.png"
    assert index_key("spring-catalog", "index.json") == "spring-catalog/index.json"


@pytest.mark.parametrize("job", ["mug", "SKU-123", "a.b_c-d", "mug.1", "x" * 200])
def test_a_safe_id_stays_as_it_is(job: str) -> None:
    assert job_slug(job) == job


@pytest.mark.parametrize(
    "job", ["", ".", "..", ".hidden", "../../etc/passwd", "a b", "Tasse–rot", "a/b", "index.json", "index.sandbox.csv"]
)
def test_an_unsafe_id_carries_its_hash(job: str) -> None:
    slug = job_slug(job)
    assert set(slug) <= ALLOWED
    assert not slug.startswith(".")
    assert job_slug(slug) != slug, "an id that looks like another one's slug must move on"


def test_ids_that_would_meet_are_kept_apart() -> None:
    slugs = {job_slug(job) for job in ("a b", "a-b", "a/b", "a:b", "a\tb", job_slug("a b"), job_slug("a/b"))}
    assert len(slugs) == 7


@given(texts, texts)
def test_different_ids_have_different_slugs(one: str, other: str) -> None:
    assert (job_slug(one) == job_slug(other)) == (one == other)


@given(job=texts, label=texts, literal=st.text(alphabet=st.characters(exclude_characters="{}/."), min_size=1))
def test_no_key_leaves_its_place(job: str, label: str, literal: str) -> None:
    key = render_key(literal + "/{label.x}{label.x}/{job}/{index}{ext}", fields(job, x=label))
    parts = key.split("/")
    assert len(parts) == 4
    assert set(key) <= ALLOWED | {"/"}
    assert all(part and not part.startswith(".") and len(part) <= 255 for part in parts)


@pytest.mark.parametrize(
    ("templates", "reason"),
    [
        (["{nme}/{sha8}", "{job.__class__}", "{}"], "is not known"),
        (["{job", "job}"], "a brace is open"),
        (["/{job}", "{job}/", "a//{job}", "../{job}", ".x/{job}"], "neither be empty nor begin with a dot"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(templates: list[str], reason: str) -> None:
    for template in templates:
        with pytest.raises(ValueError, match=reason):
            check_template(template)
        with pytest.raises(ValueError, match=reason):
            render_key(template, fields())
