"""Automatic judges: prompts, readings, both orders, flags, rewards."""
