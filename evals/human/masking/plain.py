"""Answers as plain text: thinking removed, markup collapsed, so that formatting names no arm.

A Markdown parser would be wrong here: to it ``2*3*4`` is emphasis, and an answer would lose its
operators. Marks are taken away only where they stand like marks, at the edges of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_TAGS = r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad"
_BLOCKS = re.compile(
    rf"<({_TAGS})\b[^<>]*>.*?(?:</\1\s*>|\Z)"
    r"|\[think\].*?(?:\[/think\]|\Z)"
    r"|<\|begin_of_thought\|>.*?(?:<\|end_of_thought\|>|\Z)"
    r"|◁think▷.*?(?:◁/think▷|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_ONLY_END = re.compile(
    rf"\A.*(?:</(?:{_TAGS})\s*>|\[/think\]|<\|end_of_thought\|>|◁/think▷)",
    re.IGNORECASE | re.DOTALL,
)
_TEMPLATE = re.compile(
    r"<\|[a-z0-9_]{2,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:bos|eos|pad|unk)>|<｜[^<>｜]{1,40}｜>",
    re.IGNORECASE,
)
"""Chat template tokens that a model has written out: each family has its own."""
_FENCE = re.compile(r"^[ \t]{0,3}(```+|~~~+)[^\n`]*$", re.MULTILINE)
_EMPHASIS = re.compile(
    r"(?<![\w*\\])(\*{1,3})(?=[^\s*])([^*\n]*[^\s*\\])\1(?![\w*])"
    r"|(?<![\w_\\])(_{1,3})(?=[^\s_])([^_\n]*[^\s_\\])\3(?![\w_])"
    r"|(?<![\w~])(~~)(?=[^\s~])([^~\n]*[^\s~])\5(?![\w~])"
)
_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]+)\1(?!`)")
_LINKS = re.compile(r"!?\[([^\[\]\n]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"\n]*\")?\)")
_LINES = (
    (re.compile(r"^[ \t]{0,3}(?:#{1,6}[ \t]+)+", re.MULTILINE), ""),
    (
        re.compile(r"^[ \t]{0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|=+)$\n?", re.M),
        "",
    ),
    (re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+", re.MULTILINE), ""),
    (re.compile(r"^([ \t]*)[*+•–][ \t]+(?=\S)", re.MULTILINE), r"\1- "),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"\n{3,}"), "\n\n"),
)


def plain(text: str) -> str:
    """Return an answer without thinking blocks, emphasis, headings, links and fences.

    A block that was opened and never closed was all that there is, so nothing is left of it. Code
    between fences stays as it is.
    """
    bare = untemplated(unthought(text))
    parts = _FENCE.split(bare.replace("\r\n", "\n"))
    # The split gives text, fence, code, fence, text, ...: every second part lies between fences.
    kept = [
        part.strip("\n") if index % 2 else _stable(_prose, part)
        for index, part in enumerate(parts[::2])
    ]
    return "\n".join(part for part in kept if part.strip()).strip()


def unthought(text: str) -> str:
    """Return an answer without its thinking blocks."""
    return _stable(lambda t: _ONLY_END.sub("", _BLOCKS.sub("", t)).strip(), text)


def untemplated(text: str) -> str:
    """Return an answer without tokens of a chat template, which would give a family away."""
    return _stable(lambda t: _TEMPLATE.sub("", t), text)


def _stable(change: Callable[[str], str], text: str) -> str:
    """Apply a change that only takes away until nothing is left to take: marks can be nested."""
    before = None
    while before != text:
        before, text = text, change(text)
    return text


def _prose(text: str) -> str:
    text = _LINKS.sub(r"\1", _CODE.sub(r"\2", text))
    text = _EMPHASIS.sub(lambda m: m.group(2) or m.group(4) or m.group(6), text)
    for pattern, to in _LINES:
        text = pattern.sub(to, text)
    return text.strip("\n")
