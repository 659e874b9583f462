"""Whether it works: tasks, metrics and what they say. Pure functions from text to numbers.

Nothing here runs a model or draws a page.
"""
