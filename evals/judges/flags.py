"""What makes a judge's verdict suspect before it is given: circularity and kinship.

Circular: the judge took part in making an arm, by labelling its training data or guiding its
generation. Kin: the judge is of the family of an arm's models; judges tend to prefer their own
family's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.human.study import SystemArm
from protocols.core.models import ModelSpec
from protocols.core.registry import protocols

SKYWORK = "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"
USED_BY_PAPER: Mapping[str, tuple[str, ...]] = {
    "trained_router": (SKYWORK,),
    "switch_generation": (SKYWORK,),
}
"""Judges that made an arm in Feng et al. (2026), Appendix B: the router's labels are rewards, and
rewards of rollouts train the switcher. Runs made with that paper's code carry this whatever their
settings say."""
FAMILIES = (
    *("smollm", "qwen", "gemma", "mistral", "deepseek", "olmo", "phi", "falcon", "granite"),
    *("llama", "yi", "internlm", "gpt", "claude", "glm", "command", "aya", "bloom"),
)
ALIASES: Mapping[str, str] = {
    "mixtral": "mistral",
    "qwq": "qwen",
    "tulu": "llama",
    "vicuna": "llama",
    "alpaca": "llama",
    "zephyr": "mistral",
}
FAMILY = re.compile(rf"(?<![a-z])({'|'.join((*FAMILIES, *ALIASES))})(?![a-z])")
DISTILLED = re.compile(r"distill?(?:ed)?[-_](.+)")


@dataclass(frozen=True, slots=True)
class Flags:
    """What is to be known about a judge of one arm pairing, with the reasons in words."""

    circular: bool = False
    same_family: bool = False
    reasons: tuple[str, ...] = ()


Flagger = Callable[[str, str], Flags]
"""Returns the flags of a judge (its id) on a stratum (the contributor's model id)."""


def judge_used_in_training_of(
    judge: ModelSpec, system: SystemArm, pool: Mapping[str, ModelSpec]
) -> tuple[str, ...]:
    """Return why the judge had a part in making the system; empty if nothing is known.

    It had one if the paper used it for this protocol, if a setting names it, or if one of the
    system's models *is* the judge.
    """
    names = {name.casefold() for name in _names(judge)}
    reasons = []
    if names & {used.casefold() for used in USED_BY_PAPER.get(system.protocol, ())}:
        reasons.append(f"{judge.title} made training labels for {system.protocol}")
    for path, value in _texts(system.config):
        if value.casefold() in names:
            known = protocols().get(system.protocol)
            named = known.named(path) if known else f"'{path}'"
            reasons.append(f"the setting {named} of {system.protocol} is {judge.title}")
    for model in system_models(system, pool):
        if (model.source, model.revision, model.adapter) == _weights(judge):
            reasons.append(f"{model.title} is the judge itself")
    return tuple(reasons)


def _weights(model: ModelSpec) -> tuple[str, str, str]:
    return model.source, model.revision, model.adapter


def _names(model: ModelSpec) -> set[str]:
    """What a setting may call a model; a bare base is not the name of an adapter on it."""
    named = {model.id, model.name, model.served_name, model.adapter}
    return {name for name in named | (set() if model.adapter else {model.source}) if name}


def _texts(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Every text in nested settings with the path to it."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, Sequence):
        inside = enumerate(value)  # type: ignore[assignment]
    else:
        return []
    found = []
    for key, part in inside:
        found += _texts(part, f"{path}.{key}" if path else str(key))
    return found


def system_models(system: SystemArm, pool: Mapping[str, ModelSpec]) -> list[ModelSpec]:
    """Return the models of the system; no names mean the whole pool."""
    return [pool[name] for name in (system.models or tuple(pool)) if name in pool]


def family(model: ModelSpec) -> str:
    """Return the family of a model's base ("qwen", "llama", ...), empty if it cannot be told.

    Read from the source's name; of a distilled model the student's counts. Where the name says
    nothing, a tag or the local folder's config decides.
    """
    for text in (model.source, model.served_name, model.name, *model.tags):
        found = _family_in(text.rpartition("/")[2]) or _family_in(text)
        if found:
            return found
    return _family_of_folder(model.source)


def _family_in(text: str) -> str:
    name = re.sub(r"\d+(?:\.\d+)*", "-", text.casefold())
    student = DISTILLED.search(name)
    found = FAMILY.findall(student.group(1)) if student else []
    found = found or FAMILY.findall(name)
    return ALIASES.get(found[0], found[0]) if found else ""


def _family_of_folder(source: str) -> str:
    path = Path(source) / "config.json"
    if not path.is_file():
        return ""
    kind = re.search(r'"model_type":\s*"([^"]+)"', path.read_text(encoding="utf-8"))
    return _family_in(kind.group(1)) if kind else ""


def study_flagger(
    judges: Iterable[ModelSpec], system: SystemArm, pool: Iterable[ModelSpec]
) -> Flagger:
    """Return what tells the flags of any judge of a study on any of its strata."""
    models = {model.id: model for model in pool}
    by_id = {judge.id: judge for judge in judges}

    def flags(judge: str, stratum: str) -> Flags:
        return flags_of(by_id[judge], stratum, system, models) if judge in by_id else Flags()

    return flags


def flags_of(
    judge: ModelSpec, contributor: str, system: SystemArm, pool: Mapping[str, ModelSpec]
) -> Flags:
    """Return the flags of a judge on the pairs of one contributor's model."""
    circular = judge_used_in_training_of(judge, system, pool)
    arms = system_models(system, pool) + [pool[contributor]] * (contributor in pool)
    mine = family(judge)
    kin = sorted({model.title for model in arms if mine and family(model) == mine})
    reasons = list(circular)
    if kin:
        reasons.append(f"{judge.title} and {', '.join(kin)} are of the family {mine}")
    return Flags(bool(circular), bool(kin), tuple(reasons))


def lacks_independent(
    rewards: Sequence[ModelSpec], system: SystemArm, pool: Mapping[str, ModelSpec]
) -> str:
    """Return a warning if every reward model of a study is circular, empty otherwise."""
    suspect = [judge for judge in rewards if judge_used_in_training_of(judge, system, pool)]
    if not rewards or len(suspect) < len(rewards):
        return ""
    names = ", ".join(judge.title for judge in suspect)
    return (
        f"Every reward model of this study ({names}) had a part in making the system. Add one that "
        "had none."
    )
