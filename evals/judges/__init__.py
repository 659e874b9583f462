"""Automatic judges: language models and reward models that judge the same pairs as people."""
