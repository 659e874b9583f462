"""What every page is built from: settings, the workspace, the pool and the run manager."""

from __future__ import annotations

from dataclasses import dataclass

from studio.admin import Admin
from studio.background_jobs import Jobs
from studio.lab import Lab
from studio.pool import Pool
from studio.runs import RunManager
from studio.settings import Settings
from studio.workspace import Workspace


@dataclass(frozen=True)
class StudioContext:
    """The composed application, as pages see it."""

    settings: Settings
    workspace: Workspace
    pools: dict[str, Pool]
    manager: RunManager
    admin: Admin
    lab: Lab
    jobs: Jobs

    @property
    def opening_pool(self) -> Pool:
        """The pool the Play page opens with."""
        return self.pools[self.settings.pool]
