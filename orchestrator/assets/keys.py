"""Names of stored objects: made of ids and labels that may be anything, safe on S3 and on any file system.

Every key carries its content's hash, so that the same asset always gets the same key and another never does.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath

DEFAULT_TEMPLATE = "{name}/{job}/{index}-{sha8}{ext}"
INDEX_NAMES = ("index.json", "index.csv", "index.sandbox.json", "index.sandbox.csv")
_FIELDS = ("name", "batch", "job", "index", "date", "sha8", "ext")
_FIELD = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_ENDS_LIKE_A_SUFFIX = re.compile(r"-[0-9a-f]{12}\Z")
_LONGEST_PART = 200  # with the suffix, well below the 255 bytes that file systems allow
_NO_LABEL = "none"


@dataclass(frozen=True, slots=True)
class KeyFields:
    """What a key is made of: `date` is the batch's day (`2026-11-22`), `index` counts from 0, `ext` has its dot."""

    name: str
    batch: str
    job: str
    index: int
    date: str
    sha256: str
    ext: str
    labels: Mapping[str, str] = field(default_factory=dict)


def check_template(template: str) -> None:
    """Raise ValueError, with what would be right, for a key template that cannot be used."""
    for name in _FIELD.findall(template):
        if name not in _FIELDS and not re.fullmatch(r"label\..+", name):
            raise ValueError(f"{{{name}}} is not known; expected one of {', '.join(_FIELDS)}, label.<name>")
    literal = _FIELD.sub("x", template)
    if "{" in literal or "}" in literal:
        raise ValueError("a brace is open; fields are written as {job}")
    for part in literal.split("/"):
        if part == "" or part.startswith("."):
            raise ValueError("a part between slashes may neither be empty nor begin with a dot")


def render_key(template: str, fields: KeyFields) -> str:
    """The key of an original. A template without `{sha8}` gets it before the extension (or at its end).

    Raises ValueError for a template that `check_template` refuses.
    """
    values = _values(fields)

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name.startswith("label."):
            return safe_part(fields.labels.get(name.removeprefix("label."), _NO_LABEL))
        return values[name]

    return "/".join(_shortened(_FIELD.sub(value, part)) for part in _safe_parts(template))


@lru_cache
def _safe_parts(template: str) -> tuple[str, ...]:
    check_template(template)
    if "{sha8}" not in template:
        template = template.removesuffix("{ext}") + "-{sha8}" + "{ext}" * template.endswith("{ext}")
    return tuple(map(_safe_literal, template.split("/")))


def rendition_key(fields: KeyFields, role: str) -> str:
    """The key of a thumbnail, preview or final frame (`role`): out of the way of the originals."""
    values = _values(fields)
    return (
        f".renditions/{values['name']}/{values['job']}/"
        f"{values['index']}-{safe_part(role)}-{values['sha8']}{values['ext']}"
    )


def index_key(name: str, file_name: str) -> str:
    """The key of one of the INDEX_NAMES of a collection."""
    return f"{safe_part(name)}/{file_name}"


def job_slug(job_id: str) -> str:
    """A job's id as one part of a key, from the id alone: unchanged where it is safe, else kept apart by a hash."""
    return safe_part(job_id)


def safe_part(text: str) -> str:
    """Any text as one part of a key, different for different texts.

    Characters other than `A-Z a-z 0-9 . _ -` become `-`. Where that (or a leading dot, an overlong or reserved
    text, or one that looks like such a result) changes or could confuse anything, 12 hex digits of the text's
    SHA-256 follow.
    """
    safe = _UNSAFE.sub("-", text)[:_LONGEST_PART]
    if safe.startswith("."):
        safe = "-" + safe[1:]
    if safe == text and safe and safe not in INDEX_NAMES and not _ENDS_LIKE_A_SUFFIX.search(safe):
        return safe
    return f"{safe}-{_digest(text)}"


def _values(fields: KeyFields) -> dict[str, str]:
    return {
        "name": safe_part(fields.name),
        "batch": safe_part(fields.batch),
        "job": job_slug(fields.job),
        "index": str(fields.index),
        "date": safe_part(fields.date),
        "sha8": fields.sha256[:8],
        "ext": _UNSAFE.sub("-", fields.ext),
    }


def _safe_literal(part: str) -> str:
    """A template's own text between the fields, made safe; the fields stay for later."""
    return "".join(
        piece if number % 2 else _UNSAFE.sub("-", piece) for number, piece in enumerate(re.split(r"(\{[^{}]*\})", part))
    )


def _shortened(part: str) -> str:
    """One part of a key that several long fields made too long for a file system."""
    if len(part) <= 255:
        return part
    ext = PurePosixPath(part).suffix
    tail = ext if len(ext) <= 8 else ""
    return f"{part[:_LONGEST_PART]}-{_digest(part)}{tail}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
