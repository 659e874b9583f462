"""What the pages share: how their events are registered, and messages beside buttons."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from protocols.core.errors import StudioError
from studio.context import StudioContext
from studio.visitors import Visitor

EXPECT = "(...given) => { window.Studio?.expect?.(); return given; }"
"""Tells the live area that a run was asked for, before the server has answered."""
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def notice(sentence: str, kind: str = "alert") -> gr.HTML:
    """An inline message beside the button, or none; toasts would cover the controls on a phone.

    ``kind`` is its ARIA role: an ``alert`` for what went wrong, a ``status`` for the rest.
    """
    look = "studio-warn" if kind == "alert" else "studio-said"
    told = f"<p role='{kind}' class='{look}'>{html.escape(sentence)}</p>"
    return gr.HTML(told, visible=bool(sentence))


def warning(error: StudioError) -> str:
    """Why a cost cannot be told; it may quote what somebody typed."""
    return f"<p class='studio-cost studio-warn'>{html.escape(error.message)}</p>"


def visitor_of(ctx: StudioContext, request: gr.Request) -> Visitor | None:
    """Who starts a run, for what one visitor may have; the lab may have any number."""
    return None if ctx.admin.allowed(request) else ctx.manager.visitors.of(request)
