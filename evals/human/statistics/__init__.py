"""Statistics of blinded A/B studies: pure functions from counts to numbers with an uncertainty.

Inputs are counts and plain sequences, results are frozen dataclasses. A quantity that the data do
not determine is None and ``reason`` says why in one sentence; no function returns NaN or warns.
Impossible inputs (more wins than votes) raise ValueError. "Established" always means that the
exact p-value is below alpha, never that an approximate interval leaves out one half.

=================  ================================================================
proportions        sign test, intervals of a win rate, both tie policies
power              exact power, number of votes needed, design effect
clusters           raters as the unit: t, sign flips, bootstrap, GEE, heterogeneity
crossed            raters and items as crossed clusters
bradley_terry      strengths of two or more arms, Elo, Davidson's ties
sequential         anytime-valid evidence and intervals, exact size of peeking
agreement          two raters of the same items: kappa, AC1, McNemar
reliability        many raters of the same items: Krippendorff's alpha, Fleiss' kappa
position, length   what the place and the length of an answer contribute
blinding           whether raters could tell the arms apart
multiplicity, ppi  several criteria; few human and many automatic judgements
=================  ================================================================
"""
