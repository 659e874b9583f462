"""The pages' words in five languages: one catalog each, with the same keys and placeholders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, cast, get_args

import yaml
from babel import Locale, negotiate_locale
from babel.dates import format_date
from babel.numbers import format_decimal, format_percent

from evals.human.study import Language, StudySpec

LANGUAGES: tuple[Language, ...] = get_args(Language)
STANDARD_RUBRIC: str = StudySpec.model_fields["rubric"].default
Message = str | Mapping[str, str]  # a mapping holds plural forms, by CLDR's names for them


@cache
def catalog(language: Language) -> Mapping[str, Message]:
    """All messages of a language by dotted key."""
    text = files("studio.rating").joinpath("locales", f"{language}.yaml").read_text("utf-8")
    return dict(_flat("", yaml.safe_load(text)))


def _flat(prefix: str, tree: Mapping[str, Any]) -> list[tuple[str, Message]]:
    found: list[tuple[str, Message]] = []
    for name, value in tree.items():
        if isinstance(value, dict) and "other" not in value:
            found += _flat(f"{prefix}{name}.", value)
        else:
            found.append((f"{prefix}{name}", value))
    return found


class Words:
    """Messages and numbers in one language: ``words("pair.heading", number=7, total=25)``."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = Locale.parse(language)
        self.direction = self._locale.text_direction
        self._messages = catalog(language)

    def __call__(self, key: str, **values: object) -> str:
        """The message of a key; whole numbers are written as the language does.

        ``count`` chooses among plural forms. Raises :class:`KeyError` for an unknown key.
        """
        message = self._messages[key]
        if not isinstance(message, str):
            message = message[self._locale.plural_form(cast("int", values["count"]))]
        if not values:
            return message
        shown = {k: self.number(v) if isinstance(v, int) else v for k, v in values.items()}
        return message.format_map(shown)

    def number(self, value: int) -> str:
        """A whole number with the language's separators and digits."""
        return str(format_decimal(value, locale=self._locale, numbering_system="default"))

    def percent(self, share: float, decimals: int = 0) -> str:
        """A share between 0 and 1 as a percentage, with at most so many decimals."""
        rounded = round(share, decimals + 2)
        return str(
            format_percent(
                rounded,
                locale=self._locale,
                numbering_system="default",
                decimal_quantization=not decimals,
            )
        )

    def day(self, stamp: str) -> str:
        """The date of an ISO time, written out."""
        return format_date(date.fromisoformat(stamp[:10]), "long", locale=self._locale)


@cache
def words(language: Language) -> Words:
    """The words of a language."""
    return Words(language)


def rubric_in(rubric: str, spoken: Words) -> str:
    """What raters are asked; the standard question is translated, a study's own stays as it is."""
    return spoken("pair.rubric") if rubric == STANDARD_RUBRIC else rubric


def choose_language(asked: str, accepted: str, offered: Sequence[Language] = LANGUAGES) -> Language:
    """The language to show: the one asked for, else the first accepted one that is offered.

    ``accepted`` is an ``Accept-Language`` header, hostile like everything from outside.
    """
    if asked in offered:
        return cast("Language", asked)
    wanted = [part.partition(";")[0].strip().lower() for part in accepted[:200].split(",")]
    codes = [code for name in wanted for code in (name, name.partition("-")[0]) if code]
    found = negotiate_locale(codes, list(offered), sep="-")
    return cast("Language", found) if found in offered else offered[0]
