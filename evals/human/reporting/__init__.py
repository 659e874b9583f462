"""The report of a locked study: from judgements to values, sentences, a page and a text.

=====================  ==========================================================================
model                  the report as values: what JSON holds
votes                  which votes count where: tallies by rater, contributor, side, label
names                  raters as A1, A2, ...: nothing in a report leads back to an id
result, variants       the headline in its scopes; the same question asked in other ways
quality, blinding      position, length, agreement, gold pairs; whether raters could tell
judging                people against each automatic judge
supply                 what was left out, cut and masked; who took part; power
flags                  what a reader has to know before the numbers
charts                 geometry of the figures, in drawing units
words                  numbers as words
=====================  ==========================================================================

:func:`evals.human.report.build_report` puts them together.
"""
