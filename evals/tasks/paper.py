"""The paper's fifteen tasks and its tasks of human diversity, as data: where each one comes from.

The licences of several forbid copying items, so none is in this repository: items are read from the
hub or from files that a lab has. What a licence is said to be was not checked with its owners.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Metric = Literal["choice", "exact", "f1", "noncompliance", "reward", "diversity"]
METRICS: MappingProxyType[str, Metric] = MappingProxyType(
    {
        "multiple_choice": "choice",
        "exact_match": "exact",
        "f1_match": "f1",
        "noncompliance": "noncompliance",
        "reward_model": "reward",
        "generation_diversity": "diversity",
    }
)
"""Metrics by what the reference library's files call them."""


@dataclass(frozen=True, slots=True)
class Source:
    """A data set of the hub: its id, configurations (all of one task) and split names.

    ``fields`` map our names to columns; a dotted name goes into a nested column.
    """

    path: str
    fields: tuple[tuple[str, str], ...]
    configs: tuple[str, ...] = ("",)
    splits: tuple[str, ...] = ("test",)
    licence: str = ""


@dataclass(frozen=True, slots=True)
class PaperTask:
    """A task of the paper. ``family`` is the paper's domain; ``source`` None = files only."""

    name: str
    family: str
    metric: Metric
    title: str
    source: Source | None = None
    note: str = ""


BBH = (
    *("boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa"),
    *("dyck_languages", "formal_fallacies", "geometric_shapes", "hyperbaton"),
    *("logical_deduction_five_objects", "logical_deduction_seven_objects"),
    *("logical_deduction_three_objects", "movie_recommendation", "multistep_arithmetic_two"),
    *("navigate", "object_counting", "penguins_in_a_table", "reasoning_about_colored_objects"),
    *("ruin_names", "salient_translation_error_detection", "snarks", "sports_understanding"),
    *("temporal_sequences", "tracking_shuffled_objects_five_objects"),
    *("tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects"),
    *("web_of_lies", "word_sorting"),
)
MATHS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)
QA = "general question answering"
FOLLOWING = "instruction following"
DIVERSITY = "human diversity"


def _fields(**names: str) -> tuple[tuple[str, str], ...]:
    return tuple(names.items())


PAPER_TASKS = (
    PaperTask("agieval", QA, "choice", "AGIEval", note="Seven English exams."),
    PaperTask(
        "arc_challenge",
        QA,
        "choice",
        "ARC-Challenge",
        Source(
            "allenai/ai2_arc",
            _fields(
                id="id",
                question="question",
                keys="choices.label",
                options="choices.text",
                answer="answerKey",
            ),
            configs=("ARC-Challenge",),
            splits=("validation", "test"),
            licence="CC BY-SA 4.0",
        ),
    ),
    PaperTask("mmlu_redux", QA, "choice", "MMLU-Redux"),
    PaperTask(
        "bbh",
        "reasoning",
        "exact",
        "BIG-Bench Hard",
        Source("lukaemon/bbh", _fields(input="input", output="target"), BBH, licence="MIT"),
    ),
    PaperTask(
        "gsm8k",
        "reasoning",
        "exact",
        "GSM8K",
        Source(
            "openai/gsm8k",
            _fields(input="question", solution="answer"),
            configs=("main",),
            splits=("train", "test"),
            licence="MIT",
        ),
    ),
    PaperTask(
        "math",
        "reasoning",
        "exact",
        "MATH",
        Source(
            "EleutherAI/hendrycks_math",
            _fields(input="problem", boxed="solution"),
            configs=MATHS,
            splits=("train", "test"),
            licence="MIT",
        ),
        note="The source's problems were subject to a takedown request.",
    ),
    PaperTask(
        "sciriff", "reasoning", "exact", "SciRIFF", note="Citation intents only, six labels."
    ),
    PaperTask("wikidyk", "knowledge", "f1", "WikiDYK"),
    PaperTask(
        "popqa",
        "knowledge",
        "f1",
        "PopQA",
        Source(
            "akariasai/PopQA",
            _fields(id="id", input="question", output="possible_answers"),
            licence="MIT",
        ),
    ),
    PaperTask("blend", "knowledge", "choice", "BLEnD"),
    PaperTask(
        "truthfulqa",
        "safety",
        "choice",
        "TruthfulQA",
        Source(
            "truthfulqa/truthful_qa",
            _fields(
                question="question", options="mc1_targets.choices", labels="mc1_targets.labels"
            ),
            configs=("multiple_choice",),
            splits=("validation",),
            licence="Apache-2.0",
        ),
    ),
    PaperTask(
        "coconot",
        "safety",
        "noncompliance",
        "CoCoNot",
        Source(
            "allenai/coconot",
            _fields(id="id", input="prompt", domain="category"),
            configs=("original",),
            splits=("train", "test"),
            licence="ODC-BY 1.0",
        ),
        note="Scored by phrases, which is no judge.",
    ),
    PaperTask("alpacaeval", FOLLOWING, "reward", "AlpacaEval"),
    PaperTask("wildchat", FOLLOWING, "reward", "WildChat"),
    PaperTask("human_interest", FOLLOWING, "reward", "Human Interest"),
    PaperTask("culturebench", DIVERSITY, "exact", "CulturalBench, statements in groups"),
    PaperTask("culturalbench_hard", DIVERSITY, "choice", "CulturalBench-Hard"),
    PaperTask(
        "kaleidoscope",
        DIVERSITY,
        "choice",
        "Value Kaleidoscope",
        note="Its licence restricts use; read it first.",
    ),
    PaperTask("infinite_chat_open", DIVERSITY, "reward", "InfinityChat, open"),
    PaperTask("infinite_chat_diversity", DIVERSITY, "diversity", "InfinityChat, diversity"),
)
BY_NAME = MappingProxyType({task.name: task for task in PAPER_TASKS})
