"""Engines against their contract, with the real embedded base model."""
