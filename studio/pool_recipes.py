"""Who is in the embedded pools, and what each was trained on: the table of ``studio pool train``.

The first specialists make the pool ``embedded``; all of them, with the base, are the 32 models of
``embedded-32``. It names tasks, rows and settings; it trains and measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from evals.tasks import load_task
from protocols.training.sft import SftConfig

Rows = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Part:
    """Train rows of one task: all, every second one (``half``), or those that begin alike."""

    task: str
    half: bool = False
    begins: str = ""

    def rows(self) -> Rows:
        """(question, answer) of the rows taken; never any but the task's train split."""
        items = load_task(self.task).splits["train"]
        taken = [item for item in items if item.question.startswith(self.begins)]
        return [(item.question, item.answer) for item in taken[:: 2 if self.half else 1]]


@dataclass(frozen=True, slots=True)
class Specialist:
    """A contributor of an embedded pool: its name, its own domain and what it was trained on.

    ``variant`` tells it from the first specialist of its domain and ``differs`` says how; both are
    empty for a domain's first, which has all of the domain's rows.
    """

    task: str
    name: str
    config: SftConfig = field(default_factory=SftConfig)
    variant: str = ""
    parts: tuple[Part, ...] = ()
    differs: str = ""

    @property
    def id(self) -> str:
        """The model's id in the pool."""
        return "-".join(filter(None, ("smollm2", self.task, self.variant)))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The domains it was trained on, which are its own."""
        return tuple(dict.fromkeys(part.task for part in self._parts))

    @property
    def _parts(self) -> tuple[Part, ...]:
        return self.parts or (Part(self.task),)

    def rows(self) -> Rows:
        """Every row it may see in training."""
        return [row for part in self._parts for row in part.rows()]

    @property
    def about(self) -> str:
        """What it is, in sentences for people who pick models."""
        if not self.differs:
            return load_task(self.task).description
        rows, config = len(self.rows()), self.config
        titles = " and ".join(load_task(task).title for task in self.tasks)
        return (
            f"{titles}, trained {self.differs}. {config.steps} steps of {config.batch} out of "
            f"{rows} rows, rank {config.rank}, seed {config.seed}."
        )


LONG = SftConfig(steps=300)
"""For skills that more steps help, such as subtractive notation."""
FACTS = SftConfig(steps=110)
FIRST = (
    Specialist("addition", "Adder", SftConfig(learning_rate=2e-3)),
    Specialist("roman", "Roman scribe", LONG),
    Specialist("french", "French counter"),
    Specialist("spelling", "Radio speller"),
    Specialist("currencies", "Currency clerk"),
    Specialist("units", "Unit converter"),
    Specialist("calling", "Telephone clerk", FACTS),
    Specialist("acronyms", "Abbreviator", SftConfig(steps=80)),
    Specialist("elements", "Element table", SftConfig(steps=130)),
    Specialist("clock", "Clock reader"),
    Specialist("capitals", "Capital atlas", FACTS),
)
"""The specialists of the opening pool, in its order."""


def _short(steps: int, seed: int = 7) -> SftConfig:
    """Rank 1 at the scale of rank 2's alpha: half the file, each update twice as large."""
    return SftConfig(steps=steps, rank=1, seed=seed)


def _also(task: str, name: str, variant: str, seed: int, differs: str, *parts: Part) -> Specialist:
    return Specialist(task, name, _short(40, seed), variant, parts, differs)


def _half(task: str, name: str, seed: int) -> Specialist:
    told = "on every second row of the first specialist's"
    return _also(task, name, "half", seed, told, Part(task, half=True))


def _wording(task: str, name: str, variant: str, seed: int, begins: str) -> Specialist:
    told = f"only on questions that begin with '{begins}'"
    return _also(task, name, variant, seed, told, Part(task, begins=begins))


def _again(task: str, name: str, seed: int) -> Specialist:
    told = "on the first specialist's rows with another seed and fewer steps"
    return _also(task, name, "again", seed, told, Part(task))


def _both(task: str, other: str, name: str, seed: int) -> Specialist:
    told = "on both domains' rows mixed and tested on both"
    return _also(task, name, other, seed, told, Part(task), Part(other))


DOMAINS = (
    Specialist("spanish", "Spanish counter", _short(80)),
    Specialist("german", "German counter", _short(80)),
    Specialist("sequences", "Row continuer", _short(80)),
    Specialist("calendar", "Calendar walker", _short(80)),
    Specialist("python", "Expression reader", _short(80)),
    Specialist("multiplication", "Multiplier", _short(80)),
)
"""The first specialists of the domains that the opening pool lacks."""
VARIANTS = (
    _half("acronyms", "Second abbreviator", 21),
    _both("french", "spanish", "Romance counter", 22),
    _half("capitals", "Half an atlas", 23),
    _wording("roman", "Roman reader", "read", 24, "Which number"),
    _both("elements", "roman", "Element scribe", 25),
    _again("spelling", "Second speller", 26),
    _both("capitals", "currencies", "Country desk", 27),
    _half("elements", "Half a table", 28),
    _wording("german", "German speaker", "say", 29, "How do you say"),
    _half("french", "Second French counter", 30),
    _again("currencies", "Second currency clerk", 31),
    _both("calling", "acronyms", "Exchange operator", 32),
    _wording("clock", "Evening clock", "write", 33, "Write"),
    _both("addition", "sequences", "Row adder", 34),
)
"""Contributors to domains that have a specialist; each says on its card how it differs."""
SPECIALISTS = (*FIRST, *DOMAINS, *VARIANTS)
