"""The map of acceptance tests names tests that exist, and leaves none of the specification out."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT

MAP = Path(__file__).with_name("acceptance.md")
LAST = {"L": 13, "B": 7, "D": 11, "J": 7, "S": 16, "U": 7}
LINE = re.compile(r"^\| (T-[LBDJSU]\d+b?) \| (.+?) \| (.+) \|$", re.M)
NAME = re.compile(r"`(test_\w+)`( \(slow\))?")


def test_every_acceptance_test_is_proved_by_tests_that_exist() -> None:
    lines = {where: NAME.findall(proof) for where, _, proof in LINE.findall(MAP.read_text("utf-8"))}
    wanted = {f"T-{kind}{n}" for kind, last in LAST.items() for n in range(1, last + 1)}
    assert set(lines) == wanted | {"T-D2b"}
    source = {path: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    for where, names in lines.items():
        assert names, where
        for name, slow in names:
            homes = [text for text in source.values() if f"def {name}(" in text]
            assert homes, f"{where}: {name}"
            assert bool(slow) == any(_is_slow(text, name) for text in homes), f"{where}: {name}"


def _is_slow(text: str, name: str) -> bool:
    """Whether a test is marked slow itself or with its whole file."""
    own = re.search(rf"((?:^@.+\n)*)^def {name}\(", text, re.M)
    whole = re.search(r"^pytestmark = .*slow", text, re.M)
    return bool(whole) or (own is not None and "@pytest.mark.slow" in own.group(1))
