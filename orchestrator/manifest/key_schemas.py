"""What each key of this project's own takes, as JSON Schema (2020-12) with a description for its author."""

from typing import Any

from orchestrator.base.notices import MAX_URL_LENGTH, NoticeEvent, NoticeStyle
from orchestrator.manifest.collection_keys import REUSES, SCHEDULE_KEYS
from orchestrator.manifest.job_keys import GATES, MAX_JOBS
from orchestrator.manifest.object_key import DEFAULT_KEY
from orchestrator.manifest.schema import MAX_BUNDLE, PAYMENTS, VERSION
from orchestrator.manifest.values import MAX_LABELS

JsonSchema = dict[str, Any]

TEMPLATE: JsonSchema = {"$ref": "#/$defs/template"}
"""Text with `{{ }}` in it: what it gives is not known before it is filled in."""
SCALAR: JsonSchema = {"type": ["string", "number", "boolean", "null"]}


def definitions() -> dict[str, JsonSchema]:
    """What the other schemas refer to."""
    return {
        "template": {
            "type": "string",
            "pattern": r"\{\{",
            "description": "Filled in from the row, the matrix and `vars`.",
        },
        "amount": {
            "description": "An amount above 0, as a number or in quotes.",
            "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}],
        },
        "percentage": {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,4})?%$"},
        "url": {"type": "string", "pattern": r"^https?://", "maxLength": MAX_URL_LENGTH},
        "labels": {
            "type": "object",
            "maxProperties": MAX_LABELS,
            "additionalProperties": {"type": "string", "minLength": 1},
        },
    }


def manifest_key(name: str) -> JsonSchema:
    """The schema of a top-level key; KeyError for one that nobody has described."""
    return _MANIFEST[name]


def job_key(name: str) -> JsonSchema:
    """The schema of a key that a job has beside the provider's fields."""
    return _JOB[name]


def mapping_of(properties: dict[str, JsonSchema], **more: Any) -> JsonSchema:
    """A mapping with these keys and no others."""
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def or_template(*schemas: JsonSchema) -> JsonSchema:
    """One of these, or a template that is to give it."""
    return {"anyOf": [*schemas, TEMPLATE]}


_LABELS: JsonSchema = {
    "description": f"At most {MAX_LABELS} labels of your own, on jobs, in the ledger and in the index.",
    "$ref": "#/$defs/labels",
}

_NOTIFY_ENTRY: JsonSchema = {
    **mapping_of(
        {
            NoticeStyle.WEBHOOK.value: {"description": "Gets signed JSON documents.", "$ref": "#/$defs/url"},
            NoticeStyle.SLACK.value: {"description": "A Slack-compatible hook: gets text.", "$ref": "#/$defs/url"},
            "on": {
                "description": "What is told; without it, finished and held.",
                "type": "array",
                "minItems": 1,
                "items": {"enum": [event.value for event in NoticeEvent]},
            },
        }
    ),
    "oneOf": [{"required": [NoticeStyle.WEBHOOK.value]}, {"required": [NoticeStyle.SLACK.value]}],
}

_TIMES: dict[str, JsonSchema] = {
    "cron": {"type": "string", "description": "Minute, hour, day, month, weekday: 0 2 * * * is every night at two."},
    "tz": {"type": "string", "description": "The time zone of it, such as Europe/Berlin; UTC without it."},
    "heartbeat": {"description": "A URL that is called when a run has begun.", "$ref": "#/$defs/url"},
}

_MANIFEST: dict[str, JsonSchema] = {
    "version": {"const": VERSION, "description": "The version of this format."},
    "name": {
        "type": "string",
        "pattern": "^[a-z0-9-]{1,64}$",
        "description": "The name of the collection: what it has already is not bought again.",
    },
    "destination": {"type": "string", "description": "Where assets go: s3://bucket/prefix or a folder."},
    "key": {
        "type": "string",
        "default": DEFAULT_KEY,
        "description": "How objects are named: {name} {job} {index} {sha8} {ext} {batch} {date} {label.x}.",
    },
    "budget": {
        "description": "A hard cap of the batch, in credits or in US dollars.",
        **mapping_of({"credits": {"$ref": "#/$defs/amount"}, "usd": {"$ref": "#/$defs/amount"}}),
        "minProperties": 1,
        "maxProperties": 1,
    },
    "payment": {"enum": list(PAYMENTS), "default": "credits", "description": "Who pays, and how."},
    "bundle": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_BUNDLE,
        "default": 1,
        "description": "How many jobs go into one request.",
    },
    "price_tolerance": {
        "description": "By how much the work may get dearer before the batch is held, such as 5%.",
        "$ref": "#/$defs/percentage",
    },
    "canary": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_JOBS,
        "description": "How many jobs of each model run first; the rest waits for `approve`.",
    },
    "stop_when": {
        "description": "When the batch is held.",
        **mapping_of(
            {"failed_over": {"description": "More than this failed, such as 20%.", "$ref": "#/$defs/percentage"}}
        ),
        "minProperties": 1,
    },
    "notify": {
        "type": "array",
        "items": _NOTIFY_ENTRY,
        "description": "Who is told when a batch ends, is held, and so on.",
    },
    "reuse": {
        "enum": list(REUSES),
        "default": "collection",
        "description": "Where results are looked for that need not be bought again.",
    },
    "on_invalid": {
        "description": "What to do with rows whose own data is bad.",
        **mapping_of(
            {
                "skip_at_most": {
                    "description": "Leave them out while they are no more than this: 2%, or a number of jobs.",
                    "anyOf": [{"$ref": "#/$defs/percentage"}, {"type": "integer", "minimum": 0, "maximum": MAX_JOBS}],
                }
            }
        ),
        "minProperties": 1,
    },
    "auto_rotate": {
        "type": "boolean",
        "default": True,
        "description": "Whether photos are turned upright by their EXIF orientation before they are sent.",
    },
    "partial": {
        "type": "boolean",
        "default": False,
        "description": "Whether the jobs are a part of their collection only: what it has besides stays in its index.",
    },
    "schedule": {
        "description": "When the manifest is submitted by itself, once `orchestrator schedule add` knows it.",
        **mapping_of({name: _TIMES[name] for name in SCHEDULE_KEYS}),
        "required": ["cron"],
    },
    "include": {
        "description": "Files with `vars`, `labels`, `defaults` and `jobs`, or bare lists of jobs, that come first.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    },
    "vars": {"type": "object", "description": "Variables for {{ }} in all jobs."},
    "labels": _LABELS,
    "defaults": {"description": "What a job gets that does not say otherwise.", "$ref": "#/$defs/defaults"},
    "jobs": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/job"}, "description": "What is to be made."},
}

_JOB: dict[str, JsonSchema] = {
    "id": {
        "type": "string",
        "minLength": 1,
        "description": "The job's own name. With rows or a matrix, a template that differs for each.",
    },
    "for_each": {
        "description": "One job for each row: a CSV or JSONL file (also with its encoding), or a list of mappings.",
        "anyOf": [
            {"type": "string"},
            mapping_of({"file": {"type": "string"}, "encoding": {"type": "string"}}, required=["file", "encoding"]),
            {"type": "array", "items": {"type": "object"}},
        ],
    },
    "where": {
        "description": "Which rows: columns and the value, or values, that they must have.",
        "type": "object",
        "additionalProperties": {"anyOf": [SCALAR, {"type": "array", "minItems": 1, "items": SCALAR}]},
    },
    "matrix": {
        "description": "One job for each combination of values; names of fields also set them.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [SCALAR, {"type": "array", "minItems": 1}]},
    },
    "takes": {
        "description": "How many results of the same job: mug.1, mug.2 and so on.",
        **or_template(
            {"type": "integer", "minimum": 1, "maximum": MAX_JOBS}, {"type": "string", "pattern": "^[0-9]+$"}
        ),
    },
    "labels": _LABELS,
    "gate": {
        "description": "manual: what is made from this waits until someone has looked at it (`approve`).",
        **or_template({"enum": [*GATES, "", None]}),
    },
    "extra": {
        "description": "Fields that go to the provider unchecked, such as {seed: 42}.",
        **or_template({"type": "object"}),
    },
}
