"""What `plan --expand` and `plan --job` show: all that is sent, with media cut short."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.base.errors import UsageError
from orchestrator.operations.planning import expanded, request_of
from orchestrator.planner.plan import Plan

PlanText = Callable[..., Plan]
MEDIA = Path(__file__).resolve().parents[2] / "golden" / "media"
VOICE = base64.b64encode((MEDIA / "voice-4s.wav").read_bytes()).decode()
ODD = " " + base64.b64encode((MEDIA / "green.jpg").read_bytes()).decode()


@pytest.fixture
def plan(plan_text: PlanText) -> Plan:
    planned = plan_text(
        "version: 1\nname: t\nlabels: {a: b}\non_invalid: {skip_at_most: 1}\n"
        "defaults: {prompt: x, aspect_ratio: 1:1}\njobs:\n"
        "  - {id: '{{ sku }}', for_each: [{sku: mug, r: '1:1'}, {sku: bad, r: '7:1'}], gate: manual,\n"
        f"     model: gpt-image-2, image_urls: [{MEDIA / 'green.jpg'}], aspect_ratio: '{{{{ r }}}}'}}\n"
        "  - id: spin\n    model: seedance-2-0\n    duration_seconds: 5\n    extra: {seed: 1}\n"
        "    reference_assets: [{kind: image, url: {from: mug}}, {kind: image, url: https://example.com/a.png}]\n"
        f"    video_image_data: {{audio_input_urls: ['{VOICE}'], reference_image_urls: ['{ODD}']}}\n"
    )
    assert planned.errors == ()
    return planned


def test_a_request_is_shown_as_it_is_sent(plan: Plan) -> None:
    assert request_of(plan, "spin") == {
        "requests": [
            {
                "type": "video",
                "model": "seedance-2-0",
                "prompt": "x",
                "aspect_ratio": "1:1",
                "duration_seconds": 5,
                "seed": 1,
                "reference_assets": [
                    {"kind": "image", "url": "data:…;base64,… (the result of job mug)"},
                    {"kind": "image", "url": "https://example.com/a.png"},
                ],
                "video_image_data": {
                    "audio_input_urls": ["data:audio/wav;base64,… (4,044 bytes)"],
                    "reference_image_urls": [f"{ODD[:60]}… ({len(ODD):,} characters)"],
                },
            }
        ]
    }
    image = request_of(plan, "mug")["requests"][0]["image_urls"]
    assert image == [f"data:image/jpeg;base64,… (632 bytes of {MEDIA / 'green.jpg'})"]


def test_what_cannot_be_shown_says_why(plan: Plan) -> None:
    with pytest.raises(UsageError, match=r"bad is left out: unsupported-aspect-ratio: .* \(row 2\)"):
        request_of(plan, "bad")
    with pytest.raises(UsageError, match="has no job spim; did you mean `spin`"):
        request_of(plan, "spim")


def test_concrete_jobs_are_those_of_a_manifest(plan: Plan, plan_text: PlanText) -> None:
    mug, spin = expanded(plan)
    assert mug == {
        "id": "mug",
        "type": "image",
        "model": "gpt-image-2",
        "prompt": "x",
        "aspect_ratio": "1:1",
        "image_urls": [str(MEDIA / "green.jpg")],
        "labels": {"a": "b"},
        "gate": "manual",
    }
    assert spin["extra"] == {"seed": 1}
    assert spin["reference_assets"][0] == {"kind": "image", "url": {"from": "mug", "use": "original"}}
    again = plan_text(json.dumps({"version": 1, "name": "t", "jobs": [mug]}))
    assert again.jobs[0].fingerprint == plan.jobs[0].fingerprint
