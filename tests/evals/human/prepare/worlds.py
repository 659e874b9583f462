"""An artificial study for the tests of its preparation."""

from __future__ import annotations

from typing import Any

from evals.human.mask import Masker
from evals.human.study import ContributorArm, StudySpec, SystemArm
from protocols.core.models import Contributor, ModelSpec

OWN = ModelSpec(
    id="zyntara-7b-law",
    name="Zyntara",
    source="quillhouse/zyntara-7b-law",
    contributor=Contributor(name="Orsolya Venn", institution="Venn-Orban Institute"),
)
OTHER = ModelSpec(
    id="lex-helper-9",
    name="Adder",
    source="/models/LexHelper9",
    contributor=Contributor(name="test", institution="Ambermoor College"),
)
POOL = (OWN, OTHER)


def study(**changes: Any) -> StudySpec:
    """A study of two artificial models with a majority vote."""
    fields: dict[str, Any] = {
        "slug": "artificial",
        "title": "Artificial",
        "contributors": (ContributorArm(model=OWN.id, questions="import:x", limit=5000),),
        "system": SystemArm(protocol="majority_vote"),
    }
    return StudySpec(**{**fields, **changes})


def masker(**changes: Any) -> Masker:
    """What hides the names of :func:`study`."""
    return Masker(study(**changes), POOL)
