"""Algorithms that several protocols share. Nothing here streams or calls an engine."""
