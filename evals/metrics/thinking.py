"""What a reasoning model thinks before it answers is no part of its answer."""

from __future__ import annotations

import re

BLOCK = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|$)", re.DOTALL | re.IGNORECASE)
END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)


def without_thinking(text: str) -> str:
    """Return the text with thoughts blanked out: every place stays where it is.

    A thought that does not end hides the rest; one without a beginning hides what is before it.
    """
    blank = BLOCK.sub(lambda m: " " * len(m.group()), text)
    ends = [one.end() for one in END.finditer(blank)]
    return " " * ends[-1] + blank[ends[-1] :] if ends else blank
