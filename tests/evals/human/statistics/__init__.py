"""Tests of evals.human.statistics."""
