"""The paper's questions as functions over stored runs: each gives numbers, intervals and a null.

Every function takes the frame of :func:`evals.frames.to_frame` (one row per answered item;
``value`` is the score, with 0 for what could not be read) and gives a
:class:`~evals.analyses.core.Finding`.
"""
