"""Rows of data sets of the hub whose columns are not a question and its answer as they stand.

Each function gives a row by our names (``id``, ``question`` or ``input``, ``options`` with the key
that is the ``answer``, ``output``, ``domain``, ``group``), and None for one that is not asked. A
column that is not there raises ``KeyError``. Column names are those of the data sets' cards and of
public programs that read them; no data set was at hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
VALENCES = {"supports": "A", "opposes": "B", "either": "C"}
YEARS = ("2022", "2023")
"""Years of facts in the reference library's file of WikiDYK."""
CITATIONS = "acl_arc_intent_classification:"
"""The only task of SciRIFF in the reference library's file."""


def agieval(raw: Raw) -> dict[str, Any] | None:
    """An exam question. The options stand in the text too, behind a mark; they are cut there."""
    right = list(raw["gold"])
    if len(right) != 1:
        return None
    before, _, question = str(raw["query"]).partition(" Answer Choices:")[0].rpartition("Q:")
    options = [re.sub(r"^\s*\([A-Z]\)\s*", "", str(one)) for one in raw["choices"]]
    asked = f"{before.strip()}\n{question.strip()}".strip()
    return {"question": asked, "options": options, "answer": LETTERS[int(right[0])]}


def mmlu_redux(raw: Raw) -> dict[str, Any] | None:
    """A question that its annotators found to be in order; the others have no agreed answer."""
    if raw["error_type"] != "ok":
        return None
    answer = LETTERS[int(raw["answer"])]
    return {"question": raw["question"], "options": raw["choices"], "answer": answer}


def blend(raw: Raw) -> dict[str, Any]:
    """A question about everyday life; its own instruction about the answer's form is cut off."""
    question = str(raw["prompt"]).partition(" Without any explanation")[0]
    return {
        "id": raw["MCQID"],
        "question": question,
        "options": loaded(raw["choices"]),
        "answer": raw["answer_idx"],
        "domain": raw["country"],
    }


def culture_choice(raw: Raw) -> dict[str, Any]:
    """A question about a culture with its four options in columns of their own."""
    return {
        "id": raw["question_idx"],
        "question": raw["prompt_question"],
        "options": [raw[f"prompt_option_{key}"] for key in "abcd"],
        "answer": raw["answer"],
        "domain": raw["country"],
    }


def culture_statement(raw: Raw) -> dict[str, Any]:
    """One of four proposed answers to a question; they count together."""
    asked = f"Question: {raw['prompt_question']}\nProposed answer: {raw['prompt_option']}"
    return {
        "id": raw["data_idx"],
        "input": f"{asked}\nIs the proposed answer right? Answer True or False.",
        "output": str(raw["answer"]),
        "domain": raw["country"],
        "group": raw["question_idx"],
    }


def kaleidoscope(raw: Raw) -> dict[str, Any]:
    """Whether a value, right or duty supports or opposes a situation."""
    asked = (
        f"Situation: {raw['situation']}\nValue, right or duty: {raw['text']}\n"
        "Does this value, right or duty support the situation, oppose it, or could it do either?"
    )
    options = ["Support", "Oppose", "Either support or oppose"]
    answer = VALENCES[str(raw["valence"]).casefold()]
    return {
        "question": asked,
        "options": options,
        "answer": answer,
        "domain": str(raw.get("vrd", "")),
    }


def wikidyk(raw: Raw) -> dict[str, Any] | None:
    """The plain question about a fact of the years that the reference library asks."""
    if str(raw["year"]) not in YEARS:
        return None
    asked = loaded(raw["eval"])["reliability"]
    return {"input": asked["prompt"], "output": asked["answer"], "domain": str(raw["year"])}


def citation_intent(raw: Raw) -> dict[str, Any] | None:
    """A citation whose intent is to be named; other tasks of that data set are left out."""
    name = str(raw["_instance_id"])
    if not name.startswith(CITATIONS):
        return None
    return {"id": name, "input": raw["input"], "output": raw["output"]}


def first_wish(raw: Raw) -> dict[str, Any] | None:
    """What an English conversation without harm begins with."""
    if raw["language"] != "English" or raw["toxic"]:
        return None
    return {"id": raw["conversation_id"], "input": raw["conversation"][0]["content"]}


def open_wish(raw: Raw) -> dict[str, Any] | None:
    """The first thing that a person asked for; None where nobody did."""
    said = [one["content"] for one in raw["messages"] if one["role"] == "user"]
    return {"input": said[0]} if said else None


def loaded(value: Any) -> Any:
    """A nested column, which some data sets keep as JSON text. Raises ``TypeError`` for none."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise TypeError("nested column") from None
