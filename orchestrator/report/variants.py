"""Which jobs are variants of one thing: made from the same row, or of the same words and inputs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Texts that say what is to be seen; other scalars are settings, in which variants may differ.
_CONTENT = ("prompt", "negative_prompt", "messages", "system_prompt")
_LONGEST_TITLE = 120
_TITLE_COLUMNS = 3


def words_of(item: Mapping[str, Any]) -> str:
    """What a job asks for: its prompt, or the last message of a conversation; "" where that has no words."""
    if item.get("prompt"):
        return str(item["prompt"])
    messages = item.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else ""
    parts = content if isinstance(content, list) else [{"text": content}]
    return "\n".join(str(part["text"]) for part in parts if part.get("text"))


@dataclass(frozen=True, slots=True)
class Subject:
    """What a job is to show, as far as its variants share it."""

    model: str
    item: Mapping[str, Any]
    row: Mapping[str, Any] | None

    @property
    def key(self) -> str:
        """The same for all variants of one thing."""
        shared = {"row": self.row} if self.row else {"content": self._content()}
        return json.dumps(shared, sort_keys=True, default=str)

    @property
    def title(self) -> str:
        """What the variants have in common, in a few words."""
        cells = [str(cell) for cell in (self.row or {}).values() if cell not in (None, "")]
        text = " · ".join(cells[:_TITLE_COLUMNS]) or words_of(self.item) or self.model
        return text if len(text) <= _LONGEST_TITLE else f"{text[:_LONGEST_TITLE]}…"

    def _content(self) -> dict[str, Any]:
        """Words and media: whatever is no plain setting."""
        return {name: value for name, value in self.item.items() if name in _CONTENT or isinstance(value, dict | list)}

    def settings(self) -> dict[str, str]:
        """The scalars that a variant may differ in, by name."""
        scalars = {
            name: str(value)
            for name, value in self.item.items()
            if name not in _CONTENT and name != "type" and isinstance(value, str | int | float) and value is not True
        }
        return {"model": self.model} | scalars


def variants(subjects: Sequence[Subject]) -> tuple[list[str], list[int], list[str]]:
    """The titles of the groups, each job's group, and in a few words what sets each job apart in its group."""
    numbers: dict[str, int] = {}
    group_of = [numbers.setdefault(subject.key, len(numbers)) for subject in subjects]
    members: list[list[int]] = [[] for _ in numbers]
    for place, group in enumerate(group_of):
        members[group].append(place)
    words = [""] * len(subjects)
    for places in members:
        for place, text in zip(places, _apart([subjects[place].settings() for place in places]), strict=True):
            words[place] = text
    return [subjects[places[0]].title for places in members], group_of, words


def _apart(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The values of the settings in which the members of a group differ; "" where there is but one."""
    if len(settings) == 1:
        return [""]
    names = list(dict.fromkeys(name for one in settings for name in one))
    differing = [name for name in names if len({one.get(name) for one in settings}) > 1]
    return [" · ".join(one[name] for name in differing if name in one) for one in settings]
