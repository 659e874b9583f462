"""T-S7: agreement of two and of many raters."""

from __future__ import annotations

import pytest

from evals.human.statistics.agreement import (
    agreement,
    cohen_kappa,
    gwet_ac1,
    label_bias,
    mcnemar,
)
from evals.human.statistics.reliability import fleiss, krippendorff_alpha
from tests.evals.human.statistics.checks import near, sound, spans

LABELS = ("system", "contributor", "tie")
N = None
FOUR_RATERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]
THREE_RATERS = [
    [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
    [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
    [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
]
FOURTEEN_RATERS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]


def lists(table: list[list[int]]) -> tuple[list[str | None], list[str | None]]:
    pairs = [
        (LABELS[i], LABELS[j])
        for i, row in enumerate(table)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    return [a for a, _ in pairs], [b for _, b in pairs]


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.130435),
        ([[25, 35], [5, 35]], 0.259259),
        ([[40, 5, 5], [5, 20, 5], [5, 5, 10]], 0.516129),
        ([[118, 5], [2, 0]], -0.023392),
    ],
)
def test_cohen(table: list[list[int]], kappa: float) -> None:
    assert near(cohen_kappa(table).value, kappa, 1e-6)


def test_cohen_with_its_error_and_weights() -> None:
    two, three = [[20, 5], [10, 15]], [[40, 5, 5], [5, 20, 5], [5, 5, 10]]
    assert near(cohen_kappa(two).se, 0.126996, 1e-6)
    assert spans(cohen_kappa(two).interval, 0.151092, 0.648908, 1e-6)
    assert near(cohen_kappa(three).se, 0.071084, 1e-6)
    assert near(cohen_kappa(three, "linear").value, 0.512195, 1e-6)


def test_the_paradox_is_shown_whole() -> None:
    first, second = lists([[118, 5], [2, 0]])
    found = agreement(first, second, LABELS[:2])
    assert near(found.observed, 0.944) and near(found.kappa.value, -0.023392, 1e-6)
    assert near(found.ac1.value, 0.940776, 1e-6)
    sound(found.kappa)


def test_a_constant_judge_agrees_without_knowing_anything() -> None:
    human = ["system"] * 15 + ["contributor"] * 3 + ["tie"] * 7
    found = agreement(human, ["system"] * 25, LABELS)
    assert near(found.observed, 0.6) and found.kappa.value == 0.0 and found.kappa.reason
    assert found.constant == "system" and found.constant_share == 0.6
    sound(found.kappa)
    sound(found.linear)


def test_the_table_of_labels_and_what_is_missing() -> None:
    found = agreement(["tie", None, "system", "system"], ["tie", "tie", None, "tie"], LABELS)
    assert found.table == ((0, 0, 1), (0, 0, 0), (0, 0, 1))
    assert (found.n, found.missing, found.observed) == (2, 2, 0.5)


def test_unknown_labels_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="unparsed"):
        agreement(["system"], ["unparsed"], LABELS)
    with pytest.raises(ValueError, match="zip"):
        agreement(["system"], [], LABELS)
    with pytest.raises(ValueError, match="square"):
        gwet_ac1([[1, 2]])


def test_fleiss() -> None:
    assert near(fleiss(FOURTEEN_RATERS).value, 0.209931, 1e-6)
    with pytest.raises(ValueError, match="same number"):
        fleiss([[1, 1], [2, 1]])


@pytest.mark.parametrize(
    ("measure", "alpha"),
    [("nominal", 0.743421), ("ordinal", 0.815388), ("interval", 0.849107), ("ratio", 0.797403)],
)
def test_krippendorff_2011(measure: str, alpha: float) -> None:
    found = krippendorff_alpha(FOUR_RATERS, measure)  # type: ignore[arg-type]
    assert near(found.value, alpha, 1e-6) and found.units == 11
    assert found.interval is not None and found.value in found.interval


def test_krippendorff_of_three_raters() -> None:
    assert near(krippendorff_alpha(THREE_RATERS).value, 0.691358, 1e-6)
    assert near(krippendorff_alpha(THREE_RATERS, "interval").value, 0.810845, 1e-6)


def test_the_bootstrap_of_alpha_is_seeded_and_narrows_with_items() -> None:
    one = krippendorff_alpha(FOUR_RATERS, seed=1)
    assert one == krippendorff_alpha(FOUR_RATERS, seed=1) != krippendorff_alpha(FOUR_RATERS, seed=2)
    many = krippendorff_alpha([row * 9 for row in FOUR_RATERS])
    assert one.interval is not None and many.interval is not None
    width = many.interval.high - many.interval.low
    assert width < (one.interval.high - one.interval.low) / 2


def test_a_rare_label_leaves_draws_without_alpha_and_says_so() -> None:
    found = krippendorff_alpha([[1, 1, 1, 2], [1, 1, 1, 2]])
    assert found.value == 1.0 and 0.2 < found.undefined / found.resamples < 0.45
    sound(found)


def test_mcnemar() -> None:
    one, two = mcnemar(150, 86), mcnemar(121, 59)
    assert near(one.p, 3.71594e-05, 1e-9) and near(one.chi2, 17.3559)
    assert near(two.chi2_corrected, 20.6722)
    sound(mcnemar(0, 0))


def test_a_judge_that_says_tie_too_rarely() -> None:
    first, second = lists([[10, 0, 0], [0, 10, 0], [6, 2, 3]])
    found = label_bias(agreement(first, second, LABELS), "tie")
    assert (found.only_first, found.only_second) == (8, 0)
    assert near(found.p, 2 / 2**8, 1e-12)
