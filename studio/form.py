"""A protocol's settings as a form, made of its config fields: their types, limits and sentences.

The whole form is one component whose value is ``{"of": protocol id, "values": {field: value}}``,
so a page carries the settings of one protocol and not of all. What comes back is validated by the
protocol's pydantic model; the limits in the page are a convenience and never the check.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic.fields import FieldInfo

from protocols.core.errors import UserError
from protocols.core.models import ModelSpec
from protocols.core.registry import ProtocolSpec, setting_title
from studio.files import asset

LONGEST = 20_000
"""Characters of a text setting: far beyond any use, and short enough to be told in a sentence."""
Choice = tuple[str, str]


def build(
    elem_id: str, spec: ProtocolSpec, only: Collection[str], models: Sequence[ModelSpec]
) -> gr.HTML:
    """The form of the fields ``only`` of a protocol, with their defaults."""
    return gr.HTML(
        value(spec, only),
        html_template='<div class="studio-form"></div>',
        js_on_load=asset("form.js"),
        fields=fields(spec, only, models),
        elem_id=elem_id,
    )


def update(
    spec: ProtocolSpec,
    only: Collection[str],
    models: Sequence[ModelSpec],
    changed: Mapping[str, Any] | None = None,
) -> gr.HTML:
    """The same component showing another protocol's form, or other values."""
    return gr.HTML(value=value(spec, only, changed), fields=fields(spec, only, models))


def value(
    spec: ProtocolSpec, only: Collection[str], changed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A form's value: the defaults, and what is ``changed``."""
    defaults = {n: f.get_default() for n, f in spec.config.model_fields.items() if n in only}
    given = {n: v for n, v in (changed or {}).items() if n in defaults}
    return {"of": spec.id, "values": defaults | given}


def fields(
    spec: ProtocolSpec, only: Collection[str], models: Sequence[ModelSpec]
) -> list[dict[str, Any]]:
    """What the page needs to draw each field."""
    return [
        _field(name, field, models)
        for name, field in spec.config.model_fields.items()
        if name in only
    ]


def _field(name: str, field: FieldInfo, models: Sequence[ModelSpec]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": name,
        "label": setting_title(name, field),
        "info": field.description or "",
        "standard": field.get_default(),
    }
    choices = _choices(field, models)
    if choices:
        return {**shown, "kind": "choice", "choices": choices}
    if field.annotation is bool:
        return {**shown, "kind": "check"}
    if field.annotation in (int, float):
        return {**shown, **_number(field)}
    return {**shown, "kind": "text"}


def _choices(field: FieldInfo, models: Sequence[ModelSpec]) -> list[Choice]:
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("choices") == "models":
        return [("automatic", ""), *((model.title, model.id) for model in models)]
    if get_origin(field.annotation) is Literal:
        return [(str(option), str(option)) for option in get_args(field.annotation)]
    return []


def _number(field: FieldInfo) -> dict[str, Any]:
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", getattr(rule, "gt", low))
        high = getattr(rule, "le", getattr(rule, "lt", high))
    whole = field.annotation is int
    bounded = low is not None and high is not None
    step: int | float | str = 1 if whole else 0.01 if bounded else "any"
    kind = "range" if bounded else "number"
    return {"kind": kind, "low": low, "high": high, "step": step}


def values(given: Any, spec: ProtocolSpec) -> dict[str, Any]:
    """The settings that a form's value carries, not validated yet.

    A form that still shows another protocol has nothing to say about this one: its defaults are on
    their way to the page. Raises :class:`UserError` for what no form sends.
    """
    if not isinstance(given, dict) or not isinstance(given.get("values"), dict):
        raise UserError(f"The settings of {spec.title} cannot be read. Reload the page.")
    if given.get("of") != spec.id:
        return {}
    sent = {str(name): one for name, one in given["values"].items() if one is not None}
    if any(isinstance(one, str) and len(one) > LONGEST for one in sent.values()):
        raise UserError(f"A setting of {spec.title} is longer than {LONGEST:,} characters.")
    return sent
