"""Which names are hidden: known families and labs, and those of one study's models and people.

A *sure* name is hidden wherever it stands. Many models are called like an animal, a wind or a
person; such a name is hidden only where it is meant (see :mod:`evals.human.masking.cues`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from evals.human.masking.fold import fold_text
from evals.human.masking.lists import (
    CASINGS,
    LABS,
    MEANT_MODELS,
    NUMBERED,
    ORDINARY,
    SURE_MODELS,
    WHOLE_WORDS,
)
from evals.human.study import StudySpec
from protocols.core.errors import UserError
from protocols.core.models import ModelSpec
from protocols.core.registry import get_protocol

Kind = Literal["model", "lab", "own", "title"]
_JOINT = re.compile(r"[\s\-_./·:@]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LISTED = re.compile(r"\s*(?:[,;&]|\band\b|\bund\b|\bet\b)\s*")
_GENERIC_HOSTS = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1"})


@dataclass(frozen=True, slots=True)
class Name:
    """A name to hide. ``words`` are canonical; between them any separator may stand.

    ``sure``: hidden everywhere, else where context says so. ``inside``: also as a part of a longer
    word. ``casings``: spellings that are sure. ``numbered``: the family numbers its versions.
    """

    words: tuple[str, ...]
    sure: bool = True
    kind: Kind = "model"
    inside: bool = False
    casings: tuple[str, ...] = ()
    numbered: bool = False

    @property
    def letters(self) -> str:
        """The name without separators."""
        return "".join(self.words)


def words_of(text: str) -> tuple[str, ...]:
    """Split a name into canonical words: at separators and, if spelt like that, at inner capitals.

    "SmolLM2-135M" gives smol, lm2, 135, m: digits and letters stay together.
    """
    parts = [piece for part in _JOINT.split(text) for piece in _CAMEL.split(part)]
    folded = ("".join(c for c in fold_text(part) if wordy(c)) for part in parts)
    return tuple(word for word in folded if word)


def wordy(char: str) -> bool:
    """Whether a canonical character belongs to words: letters, digits and vowel signs."""
    return char.isalnum() or unicodedata.category(char) in ("Mn", "Mc")


def known_names() -> tuple[Name, ...]:
    """Return the families and labs that are hidden in every study."""
    sure = [
        Name(words, inside=text not in WHOLE_WORDS and len("".join(words)) > 2)
        for text in SURE_MODELS
        if (words := words_of(text))
    ]
    meant = [
        Name(
            words_of(text), sure=False,
            casings=CASINGS.get(text, ()), numbered=text in NUMBERED,
        )
        for text in MEANT_MODELS
    ]  # fmt: skip
    labs = [Name(words_of(t), False, "lab", casings=CASINGS.get(t, ())) for t in LABS]
    return (*sure, *meant, *labs)


def study_names(spec: StudySpec, models: Iterable[ModelSpec]) -> tuple[Name, ...]:
    """Return the names that one study adds: its models, people, protocol and extra masks.

    Raises :class:`UserError` for an extra mask of fewer than two letters.
    """
    found: dict[str, Name] = {}
    for name in _study_names(spec, models):
        before = found.get(name.letters)
        if before is None or (name.sure and not before.sure):
            found[name.letters] = name
    return tuple(found.values())


def _study_names(spec: StudySpec, models: Iterable[ModelSpec]) -> Iterator[Name]:
    for text in spec.masks:
        words = words_of(text)
        if len("".join(words)) < 2:
            raise UserError(f"The extra name to hide {text!r} is too short; give two letters.")
        yield Name(words, kind="own")
    for model in models:
        for text in _texts(model):
            yield from own(text)
        yield from _people(model)
    for text in (spec.system.protocol, get_protocol(spec.system.protocol).title):
        yield Name(words_of(text), sure=False, kind="title")


def _texts(model: ModelSpec) -> Iterator[str]:
    """What a model is called in its spec, hub ids and paths taken apart."""
    yield from (model.id, model.name, model.served_name, model.contributor.paper)
    if model.is_endpoint:
        host = urlsplit(model.source).hostname or ""
        yield "" if host in _GENERIC_HOSTS else host
    else:
        path = PurePosixPath(model.source.replace("\\", "/").partition(":")[2] or model.source)
        yield path.name
        if len(path.parts) == 2:
            yield from (path.parts[0], str(path))
    yield PurePosixPath(model.adapter.replace("\\", "/")).name


def _people(model: ModelSpec) -> Iterator[Name]:
    who = model.contributor
    for text in (who.name, who.institution, *_LISTED.split(who.name)):
        yield from own(text)
    for person in _LISTED.split(who.name):
        parts = person.split()
        if 2 <= len(parts) <= 4:
            # One part of a person's name is common; it counts only where a maker is named.
            yield from (Name(words_of(p), False, "lab") for p in parts if len(p) > 2)


def own(text: str) -> Iterator[Name]:
    """Return the name ``text`` of a study's own: sure unless it is an ordinary or a short word."""
    text = text.strip()
    words = words_of(text)
    letters = "".join(words)
    if len(letters) < 2:
        return
    marked = any(c.isdigit() for c in letters) or len(words) > 1
    unmistakable = marked and len(letters) > 4
    name = Name(words, kind="own", inside=unmistakable and any(c.isdigit() for c in letters))
    if text.isupper() and text.isalpha() and len(text) <= 4:
        yield replace(name, sure=False, casings=(text,), kind="lab")
    elif letters in _ambiguous() or len(letters) < 3 or not (unmistakable or words[0].isalpha()):
        yield replace(name, sure=False, inside=False)
    else:
        yield name


def _ambiguous() -> frozenset[str]:
    listed = (*MEANT_MODELS, *LABS, *ORDINARY)
    return frozenset("".join(words_of(text)) for text in listed)
