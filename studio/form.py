"""A protocol's settings as form fields: one component per config field, from its type and sentence.

The same pydantic model validates what comes back, so a component's limits are a convenience and
never the check.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from protocols.core.registry import ProtocolSpec


def fields(
    protocol: ProtocolSpec, model_ids: list[str], leave_out: Container[str] = ()
) -> dict[str, Component]:
    """Build the components of a protocol's form, by field name, inside the current layout."""
    return {
        name: _component(name, field, model_ids)
        for name, field in protocol.config.model_fields.items()
        if name not in leave_out
    }


def _component(name: str, field: FieldInfo, model_ids: list[str]) -> Component:
    shown: dict[str, Any] = {
        "label": (field.title or name.replace("_", " ")).capitalize(),
        "info": field.description,
        "value": field.get_default(),
    }
    kind = field.annotation
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if extra.get("choices") == "models":
        choices = [("automatic", ""), *((m, m) for m in model_ids)]
        return gr.Dropdown(choices, **shown)
    if get_origin(kind) is Literal:
        return gr.Dropdown(list(get_args(kind)), **shown)
    if kind is bool:
        return gr.Checkbox(**shown)
    if kind in (int, float):
        return _number(field, kind is int, shown)
    return gr.Textbox(lines=1, max_lines=4, **shown)


def _number(field: FieldInfo, whole: bool, shown: dict[str, Any]) -> Component:
    low, high = _limits(field)
    if low is None or high is None:
        return gr.Number(precision=0 if whole else None, minimum=low, maximum=high, **shown)
    return gr.Slider(low, high, step=1 if whole else 0.01, **shown)


def _limits(field: FieldInfo) -> tuple[Any, Any]:
    """The least and greatest value of a numeric field, where it has them."""
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    return low, high


def values(given: dict[str, Any], protocol: ProtocolSpec) -> dict[str, Any]:
    """Form values as config values: whole numbers as ints, empty numbers as the default."""
    cleaned = {}
    for name, field in protocol.config.model_fields.items():
        value = given.get(name)
        if value is None:
            continue
        cleaned[name] = int(value) if field.annotation is int else value
    return cleaned
