"""Yardsticks at equal budget: what a collaboration has to beat."""
