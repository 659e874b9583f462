"""A rater that is a program: walks through the rating pages as a browser without scripts would.

Used to verify the blinding of a study, never to make votes that count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

from starlette.testclient import TestClient

MAX_STEPS = 4000
"""Requests after which a walk is given up: no study is that long."""
GO_ON = "data-go"


@dataclass
class Form:
    """A form as the page holds it: where it goes, what it sends untouched, what can be chosen."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)


class Forms(HTMLParser):
    """The forms of a page, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self._open: Form | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms and their fields."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(values.get("action", ""))
            self.found.append(self._open)
        elif self._open is not None and (name := values.get("name")):
            if values.get("type") in ("radio", "checkbox") or tag == "button":
                self._open.choices.setdefault(name, []).append(values.get("value", ""))
            elif values.get("type") == "hidden":
                self._open.fields[name] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        """Close the form."""
        if tag == "form":
            self._open = None


def walk(client: TestClient, token: str) -> Iterator[bytes]:
    """Go from the invitation to the last page; yields each answer, headers and body, as bytes."""
    yield _bytes(client.get(f"/rate/{token}"))
    for _ in range(MAX_STEPS):
        page = client.get("/rate")
        yield _bytes(page)
        form = _next(Forms(page.text).found)
        if form is None and GO_ON in page.text:
            continue  # what came of a practice pair; the next page is the next step
        if form is None:
            return
        yield _bytes(client.post(form.action, data=_filled(form)))


def _next(forms: list[Form]) -> Form | None:
    """The form that leads on: the step's own, not skipping, undoing or another language."""
    for end in ("/consent", "/begin", "/practice", "/vote", "/guess"):
        for form in forms:
            if form.action.endswith(end) and "skip_reason" not in form.choices:
                return form
    return None


def _filled(form: Form) -> dict[str, str]:
    """The form with its needed choices made: agree, the left answer, no guess."""
    chosen = dict(form.fields)
    for name, options in form.choices.items():
        if name in ("outcome", "agree"):
            chosen[name] = options[0]
        elif "unknown" in options:
            chosen[name] = "unknown"
    return chosen


def _bytes(response: object) -> bytes:
    status, headers = response.status_code, response.headers  # type: ignore[attr-defined]
    head = "\n".join(f"{name}: {value}" for name, value in headers.items())
    return f"{status}\n{head}\n\n{response.text}".encode()  # type: ignore[attr-defined]
