"""T-S11: each number again by another library or by the definition, on random tables."""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats

from evals.human.statistics.agreement import cohen_kappa, gwet_ac1, mcnemar
from evals.human.statistics.blinding import bang, james
from evals.human.statistics.bradley_terry import davidson, strengths, two_arms
from evals.human.statistics.clusters import heterogeneity, rater_level, sign_flip
from evals.human.statistics.crossed import crossed
from evals.human.statistics.gee import gee
from evals.human.statistics.length import by_longer, length_controlled
from evals.human.statistics.multiplicity import benjamini_hochberg, holm
from evals.human.statistics.position import position_effect, position_power
from evals.human.statistics.proportions import intervals, posterior_above_half, sign_test, win_rate
from evals.human.statistics.reliability import fleiss, krippendorff_alpha
from evals.human.statistics.values import Tally

TABLES = 500


def tables(size: int, high: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, high, (TABLES, size, size)))


def test_proportions_against_statsmodels_and_fractions() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for k, extra in np.random.default_rng(1).integers(0, 120, (TABLES, 2)).tolist():
        n = k + extra
        if n == 0:
            continue
        found = intervals(k, n)
        assert found is not None
        for own, name in ((found.exact, "beta"), (found.wilson, "wilson")):
            expected = proportion_confint(k, n, method=name)
            assert (own.low, own.high) == pytest.approx(np.clip(expected, 0, 1), abs=1e-8)
        if 0 < k < n:
            expected = proportion_confint(k, n, method="jeffreys")
            assert (found.jeffreys.low, found.jeffreys.high) == pytest.approx(expected, abs=1e-8)
        tail = sum(comb(n, i) for i in range(max(k, extra), n + 1))
        exact = min(Fraction(1), Fraction(2 * tail, 2**n))
        assert sign_test(k, extra) == pytest.approx(float(exact), rel=1e-8)


def test_the_posterior_is_a_sum_of_binomial_terms() -> None:
    """P(Beta(w + 1, l + 1) > 1/2) = P(Binomial(n + 1, 1/2) <= w)."""
    for w, losses in itertools.product(range(0, 30, 3), repeat=2):
        n = w + losses + 1
        exact = sum(comb(n, i) for i in range(w + 1)) / 2**n
        assert posterior_above_half(w, losses) == pytest.approx(exact, rel=1e-9)


def test_ties_as_halves_against_scipys_t_interval() -> None:
    for w, losses, t in np.random.default_rng(2).integers(0, 30, (TABLES, 3)).tolist():
        found = win_rate(Tally(w, losses, t), "half")
        if found.interval is None:
            continue
        scores = [1.0] * w + [0.0] * losses + [0.5] * t
        expected = stats.ttest_1samp(scores, 0.5).confidence_interval()
        assert found.interval.low == pytest.approx(max(0, expected.low), abs=1e-9)
        assert found.interval.high == pytest.approx(min(1, expected.high), abs=1e-9)


def test_kappa_by_its_definition() -> None:
    for table in tables(3, 12)[:200]:
        shares = table / table.sum()
        steps = np.abs(np.subtract.outer(range(3), range(3)))
        for weights, off in (("none", steps > 0), ("linear", steps), ("quadratic", steps**2)):
            chance = np.outer(shares.sum(1), shares.sum(0))
            expected = 1 - (off * shares).sum() / (off * chance).sum()
            found = cohen_kappa(table, weights)  # type: ignore[arg-type]
            assert found.value == pytest.approx(expected, abs=1e-8)


def test_ac1_by_its_definition_and_its_error_by_the_jackknife() -> None:
    def value(table: np.ndarray) -> float:
        used = (table.sum(0) + table.sum(1)) / 2 / table.sum()
        chance = sum(share * (1 - share) for share in used) / (len(used) - 1)
        return float((np.trace(table) / table.sum() - chance) / (1 - chance))

    for i, table in enumerate(tables(3, 40)):
        found = gwet_ac1(table)
        assert found.value == pytest.approx(value(table), abs=1e-8)
        if i < 40:
            n, single = int(table.sum()), np.eye(9, dtype=int).reshape(9, 3, 3)
            drops = [(c, value(table - e)) for c, e in zip(table.ravel(), single, strict=True) if c]
            mean = sum(c * v for c, v in drops) / n
            variance = sum(c * (v - mean) ** 2 for c, v in drops) * (n - 1) / n
            assert found.se == pytest.approx(variance**0.5, rel=0.05)


@pytest.mark.parametrize("measure", ["nominal", "ordinal", "interval", "ratio"])
def test_alpha_against_evalica(measure: str) -> None:
    import evalica

    rng = np.random.default_rng(3)
    for _ in range(TABLES // 4):
        ratings = rng.integers(1, 5, (rng.integers(2, 5), rng.integers(2, 12))).astype(float)
        ratings[rng.random(ratings.shape) < 0.25] = np.nan
        rows = [[None if np.isnan(v) else v for v in row] for row in ratings.tolist()]
        found = krippendorff_alpha(rows, measure, resamples=2)  # type: ignore[arg-type]
        if found.value is None:
            continue
        expected = evalica.alpha(pd.DataFrame(ratings), measure).alpha  # type: ignore[arg-type]
        assert found.value == pytest.approx(expected, abs=1e-8)


def test_alpha_and_fleiss_differ_by_the_correction_for_small_samples() -> None:
    """With complete ratings 1 - alpha = (1 - kappa) (nN - 1) / nN over N items by n raters."""
    rng = np.random.default_rng(4)
    for _ in range(TABLES // 4):
        ratings = rng.integers(0, 3, (4, 9))
        table = np.stack([(ratings == v).sum(axis=0) for v in range(3)], axis=1)
        alpha = krippendorff_alpha(ratings.tolist(), resamples=2).value
        kappa = fleiss(table.tolist()).value
        assert alpha is not None and kappa is not None
        assert 1 - alpha == pytest.approx((1 - kappa) * 35 / 36, abs=1e-8)


def test_two_arms_against_a_logistic_regression() -> None:
    import statsmodels.api as sm

    for w, losses in np.random.default_rng(5).integers(2, 60, (40, 2)).tolist():
        wins = [1.0] * w + [0.0] * losses
        fit = sm.GLM(wins, np.ones(len(wins)), family=sm.families.Binomial()).fit(tol=0, maxiter=30)
        found = two_arms(Tally(w, losses))
        assert found.log_ratio == pytest.approx(fit.params[0], abs=1e-8)
        assert found.se == pytest.approx(fit.bse[0], abs=1e-8)


def test_davidsons_error_is_that_of_the_log_linear_model() -> None:
    """Three Poisson counts with means exp(a + d / 2), exp(a - d / 2) and exp(a + log nu)."""
    design = np.array([[1, 0.5, 0], [1, -0.5, 0], [1, 0, 1]])
    for w, losses, t in np.random.default_rng(15).integers(1, 40, (40, 3)).tolist():
        found = davidson(Tally(w, losses, t))
        covariance = np.linalg.inv(design.T * np.array([w, losses, t]) @ design)
        reach = 1.959963984540054 * np.sqrt(covariance[2, 2])
        assert found.tie is not None and found.interval is not None
        assert found.arms.se == pytest.approx(np.sqrt(covariance[1, 1]), abs=1e-8)
        assert np.log(found.interval.high / found.tie) == pytest.approx(reach, abs=1e-8)
        assert np.log(found.tie / found.interval.low) == pytest.approx(reach, abs=1e-8)


def test_strengths_against_a_logistic_regression() -> None:
    import statsmodels.api as sm

    for table in tables(4, 9, seed=6)[:60]:
        np.fill_diagonal(table, 0)
        found = strengths(table.tolist())
        if found.logs is None or found.se is None:
            continue
        pairs = [
            (i, j) for i, j in itertools.combinations(range(4), 2) if table[i, j] + table[j, i]
        ]
        design = np.array([[(k == i) - (k == j) for k in range(1, 4)] for i, j in pairs], float)
        counts = np.array([[table[i, j], table[j, i]] for i, j in pairs], float)
        fit = sm.GLM(counts, design, family=sm.families.Binomial()).fit(tol=0, maxiter=30)
        logs = np.append(0.0, fit.params)
        assert found.logs == pytest.approx(logs - logs.mean(), abs=1e-8)
        centre = np.vstack([np.zeros(3), np.eye(3)]) - np.full((4, 3), 0.25)
        errors = np.sqrt(np.diag(centre @ fit.cov_params() @ centre.T))
        assert found.se == pytest.approx(errors, abs=1e-7)


def test_gee_against_statsmodels() -> None:
    """Wherever the estimated correlation is possible, which statsmodels does not check."""
    import statsmodels.api as sm

    rng, compared = np.random.default_rng(8), 0
    for _ in range(60):
        tallies = [Tally(int(w), int(x)) for w, x in rng.integers(0, 15, (rng.integers(3, 8), 2))]
        found = gee(tallies)
        if found.rate is None or not found.correlation:
            continue
        wins = np.concatenate([[1.0] * t.wins + [0.0] * t.losses for t in tallies])
        raters = np.repeat(range(len(tallies)), [t.decided for t in tallies])
        model = sm.GEE(
            wins,
            np.ones(len(wins)),
            raters,
            family=sm.families.Binomial(),
            cov_struct=sm.cov_struct.Exchangeable(),
        )
        fit = model.fit(maxiter=500, ctol=1e-13)
        assert found.intercept == pytest.approx(fit.params[0], abs=1e-8)
        assert found.se == pytest.approx(fit.bse[0], abs=1e-8)
        assert found.correlation == pytest.approx(model.cov_struct.dep_params, abs=1e-8)
        compared += 1
    assert compared > 40


def test_crossed_errors_against_statsmodels() -> None:
    import statsmodels.api as sm

    rng, compared = np.random.default_rng(9), 0
    for _ in range(40):
        raters, items = rng.integers(3, 6), rng.integers(8, 20)
        cells = [(r, i) for r in range(raters) for i in range(items) if rng.random() < 0.7]
        lean = rng.normal(0, 1, raters)[:, None] + rng.normal(0, 1, items)
        scores = [(r, i, float(lean[r, i] + rng.normal() > 0)) for r, i in cells]
        found = crossed(scores)
        y = [score for *_, score in scores]
        fit = sm.OLS(y, np.ones(len(y))).fit(
            cov_type="cluster", cov_kwds={"groups": np.array(cells), "use_correction": False}
        )
        least = min(len({r for r, _ in cells}), len({i for _, i in cells}))
        expected = fit.bse[0] * np.sqrt(least / (least - 1))
        # Ours never goes below the one-way errors; compare where it did not have to.
        if found.se is not None and found.se <= expected * (1 + 1e-6):
            assert found.se == pytest.approx(expected, abs=1e-8)
            compared += 1
        else:
            assert found.se is not None and found.se > expected
    assert compared > 20


def test_rater_level_against_scipy() -> None:
    rng = np.random.default_rng(10)
    for _ in range(TABLES // 5):
        tallies = [
            Tally(int(w), int(x) + 1) for w, x in rng.integers(0, 9, (rng.integers(2, 8), 2))
        ]
        found = rater_level(tallies)
        if found.interval is None:
            continue
        test = stats.ttest_1samp(found.rates, 0.5)
        low, high = test.confidence_interval()
        assert found.t_p == pytest.approx(test.pvalue, abs=1e-8)
        assert found.interval.low == pytest.approx(max(low, 0), abs=1e-8)
        assert found.interval.high == pytest.approx(min(high, 1), abs=1e-8)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_sign_flips_by_brute_force(values: list[int]) -> None:
    flips = [abs(sum(s * v for s, v in zip(signs, values, strict=True)))
             for signs in itertools.product((1, -1), repeat=len(values))]  # fmt: skip
    expected = np.mean([f >= abs(sum(values)) for f in flips])
    assert sign_flip([v / 10 for v in values]).p == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=6))
def test_heterogeneity_by_its_definition(rows: list[tuple[int, int]]) -> None:
    found = heterogeneity([Tally(*row) for row in rows])
    table = np.array([row for row in rows if sum(row)], dtype=float)
    assume(found.chi2 is not None)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    assert found.chi2 == pytest.approx(chi2, abs=1e-8)
    assert found.p == pytest.approx(stats.chi2.sf(chi2, len(table) - 1), abs=1e-8)


@given(*[st.integers(0, 15)] * 4)
def test_fisher_by_its_definition(a: int, b: int, c: int, d: int) -> None:
    found = position_effect(Tally(a, b), Tally(c, d))
    assume(found.p is not None)
    n, m, wins = a + b, c + d, a + c
    terms = {i: comb(n, i) * comb(m, wins - i) for i in range(max(0, wins - m), min(n, wins) + 1)}
    p = Fraction(sum(t for t in terms.values() if t <= terms[a]), sum(terms.values()))
    assert found.p == pytest.approx(float(p), rel=1e-8)


def test_position_power_by_enumeration() -> None:
    n, m = 7, 9
    left, right = stats.binom.pmf(range(n + 1), n, 0.8), stats.binom.pmf(range(m + 1), m, 0.3)
    expected = sum(
        left[a] * right[b]
        for a, b in itertools.product(range(n + 1), range(m + 1))
        if stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue < 0.05
    )
    assert position_power(n, m, 0.55, 0.25) == pytest.approx(expected, abs=1e-10)


def test_the_closed_form_of_length_against_a_logistic_regression() -> None:
    import statsmodels.api as sm

    for a, b, c, d in np.random.default_rng(11).integers(1, 40, (40, 4)).tolist():
        wins = [1.0] * a + [0.0] * b + [1.0] * c + [0.0] * d
        design = sm.add_constant([1.0] * (a + b) + [-1.0] * (c + d))
        fit = sm.GLM(wins, design, family=sm.families.Binomial()).fit(tol=0, maxiter=30)
        found = by_longer(Tally(a, b), Tally(c, d))
        assert (found.intercept, found.slope) == pytest.approx(tuple(fit.params), abs=1e-8)
        assert found.se == pytest.approx(fit.bse[0], abs=1e-8)


def test_firth_is_the_top_of_the_penalised_likelihood() -> None:
    rng = np.random.default_rng(12)
    for _ in range(25):
        n = int(rng.integers(4, 30))
        mine, theirs = rng.integers(1, 300, (2, n))
        scores = rng.choice([0.0, 0.5, 1.0], n)
        x = (mine - theirs) / (mine + theirs)
        design = np.column_stack([np.ones(n), x])

        def loss(beta: np.ndarray, y: np.ndarray = scores, d: np.ndarray = design) -> float:
            p = 1 / (1 + np.exp(-d @ beta))
            information = (d.T * (p * (1 - p))) @ d
            likelihood = np.sum(y * np.log(p) + (1 - y) * np.log(1 - p))
            return float(-likelihood - np.log(np.linalg.det(information)) / 2)

        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
        best = optimize.minimize(loss, [0.0, 0.0], method="Nelder-Mead", options=options)
        found = length_controlled(scores.tolist(), mine.tolist(), theirs.tolist())
        assert found.intercept == pytest.approx(best.x[0], abs=1e-5)
        assert found.slope == pytest.approx(best.x[1], abs=1e-5)


def test_firth_with_two_lengths_adds_half_a_vote() -> None:
    for a, b, c, d in np.random.default_rng(13).integers(0, 12, (40, 4)).tolist():
        scores = [1.0] * a + [0.0] * b + [1.0] * c + [0.0] * d
        if not a + b or not c + d:
            continue
        lengths = [300] * (a + b) + [100] * (c + d)
        found = length_controlled(scores, lengths, [100] * (a + b) + [300] * (c + d))
        there, here = np.log((a + 0.5) / (b + 0.5)), np.log((c + 0.5) / (d + 0.5))
        assert found.intercept == pytest.approx((there + here) / 2, abs=1e-8)
        if not a * b * c * d:
            closed = by_longer(Tally(a, b), Tally(c, d))
            assert closed.intercept == pytest.approx(found.intercept, abs=1e-8)


def test_mcnemar_against_statsmodels() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as other

    for b, c in np.random.default_rng(14).integers(0, 40, (TABLES // 5, 2)).tolist():
        if b + c == 0 or b == c:
            continue
        found, table = mcnemar(b, c), [[5, b], [c, 5]]
        assert found.p == pytest.approx(other(table, exact=True).pvalue, rel=1e-8)
        assert found.chi2 == pytest.approx(other(table, exact=False, correction=False).statistic)
        assert found.chi2_corrected == pytest.approx(other(table, exact=False).statistic)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_by_their_definitions(values: list[float]) -> None:
    m = len(values)
    ranked = sorted(values)
    for own, p in zip(holm(values), values, strict=True):
        steps = [(m - i) * q for i, q in enumerate(ranked) if q <= p]
        # Equal p-values share the largest adjusted value below or at them.
        assert own == pytest.approx(min(1.0, max(steps)), abs=1e-12)
    for own, p in zip(benjamini_hochberg(values), values, strict=True):
        steps = [m / (i + 1) * q for i, q in enumerate(ranked) if q >= p]
        assert own == pytest.approx(min(1.0, *steps), abs=1e-12)


@given(*[st.integers(0, 30)] * 3)
def test_bang_is_a_mean_of_plus_and_minus_one(right: int, wrong: int, unknown: int) -> None:
    scores = [1.0] * right + [-1.0] * wrong + [0.0] * unknown
    assume(len(scores) > 0)
    found = bang(right, wrong, unknown)
    assert found.index == pytest.approx(np.mean(scores), abs=1e-12)
    assert found.se == pytest.approx(np.std(scores) / np.sqrt(len(scores)), abs=1e-8)


@given(st.lists(st.integers(1, 40), min_size=6, max_size=6))
def test_james_by_its_weights(counts: list[int]) -> None:
    """The definition with all nine weights, rows being guesses and columns arms."""
    by_arm = np.array(counts, dtype=float).reshape(2, 3)
    p = by_arm.T / by_arm.sum()
    weights = np.array([[0, 0.5], [0.5, 0]])
    unknown = p[2].sum()
    observed = (weights * p[:2]).sum() / (1 - unknown)
    columns = p.sum(axis=0) - p[2]
    expected = (weights * np.outer(p[:2].sum(axis=1), columns)).sum() / (1 - unknown) ** 2
    index = (1 + unknown + (1 - unknown) * (observed - expected) / expected) / 2
    assert james(by_arm.astype(int).tolist()).index == pytest.approx(index, abs=1e-10)
