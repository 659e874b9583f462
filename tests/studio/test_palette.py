"""The authors' colours: readable on the cards in both modes, and apart for colour-blind eyes."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from studio.static import style

# The cards of the app's theme (studio/theme.py) in both modes.
CARDS = {"light": ("#ffffff", "#f8fafc"), "dark": ("#0f172a", "#1e293b")}
READABLE = 4.5
WASH = 0.06
Colour = tuple[float, float, float]
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216),
               (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413),
               (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602),
               (0.004733, 0.691367, 0.303900)),
}  # fmt: skip


def palette(mode: str) -> list[str]:
    found = re.findall(r"--ps-c(\d+): (#[0-9a-f]{6});", style())
    light, dark = found[:12], found[12:]
    chosen = light if mode == "light" else dark
    assert [int(n) for n, _ in chosen] == list(range(12))
    return [colour for _, colour in chosen]


def linear(colour: str) -> Colour:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    made = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return made[0], made[1], made[2]


def luminance(colour: Colour) -> float:
    return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(linear(one)), luminance(linear(other))), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def washed(ink: str, card: str) -> str:
    """The card tinted with the ink, as behind marks and segments."""
    pairs = [(int(ink[i : i + 2], 16), int(card[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(WASH * a + (1 - WASH) * b):02x}" for a, b in pairs)


def lab(colour: Colour) -> Colour:
    """Oklab, where distances are roughly as seen."""
    r, g, b = (max(0.0, c) for c in colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def distance(one: Colour, other: Colour) -> float:
    return sum((a - b) ** 2 for a, b in zip(lab(one), lab(other), strict=True)) ** 0.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_names_are_readable_on_cards_and_tints(mode: str) -> None:
    for ink in palette(mode):
        for card in CARDS[mode]:
            assert contrast(ink, card) >= READABLE, (ink, card)
            assert contrast(ink, washed(ink, card)) >= READABLE, (ink, card)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_all_colours_differ(mode: str) -> None:
    pairs = combinations(map(linear, palette(mode)), 2)
    assert min(distance(one, other) for one, other in pairs) > 0.09


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("kind", BLINDNESS)
def test_the_first_eight_stay_apart_under_colour_blindness(mode: str, kind: str) -> None:
    def seen(colour: Colour) -> Colour:
        rows = [sum(m * c for m, c in zip(row, colour, strict=True)) for row in BLINDNESS[kind]]
        return rows[0], rows[1], rows[2]

    first = [seen(linear(colour)) for colour in palette(mode)[:8]]
    assert min(distance(one, other) for one, other in combinations(first, 2)) > 0.07
