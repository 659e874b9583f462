"""Tasks as data: what is asked, what counts as right, and which items a model may learn from.

``load_task`` reads the committed files and needs nothing but the standard library. The family
modules beside it hold the generators that made those files; ``build`` runs them again.
"""

from evals.tasks.core import Item, Kind, Split, Task, load_task, task_names

__all__ = ["Item", "Kind", "Split", "Task", "load_task", "task_names"]
