"""What the Results page and ``studio figures`` show, read once for each state of the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from threading import RLock

import pandas as pd

from evals.analyses.core import Finding
from evals.analyses.everything import OF_RECORDS, Evidence
from evals.analyses.harm import harm
from evals.analyses.participants import StudyReport, participants
from evals.analyses.points import Point, PointRows, behind
from evals.judges.registry import judge_entries
from evals.names import IDS, Names
from evals.records import RECORDS, BenchRecord, newest, read_records
from evals.results_file import KEPT, Kept, kept
from evals.safety import Influence, read_influences
from protocols.core.errors import StudioError, UserError
from studio.lab import Lab
from studio.pool import known_names, load_pool
from studio.settings import Settings

INFLUENCES = "*.jsonl"
IMPORTS = "imports"
"""The folder of a workspace in which every import has its own."""
State = tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class Stored:
    """Records, what follows from them, and measured attacks. Equal only to itself, to be cached."""

    records: Sequence[BenchRecord]
    influences: Sequence[Influence]
    seed: int = 0
    names: Names = IDS
    files: Mapping[str, Kept] = field(default_factory=dict)
    imports: Mapping[str, Sequence[BenchRecord]] = field(default_factory=dict)
    """What was measured elsewhere, by import; it is shown apart and enters no analysis."""
    _made: dict[str, Finding] = field(default_factory=dict)
    _making: RLock = field(default_factory=RLock)

    @cached_property
    def reported(self) -> Sequence[BenchRecord]:
        """What the analyses speak of: where systems answered test items, no dev items.

        Fits and choices may have seen dev items, and their answers are no sample of the same items.
        """
        tested = any(one.role == "system" and one.split == "test" for one in self.records)
        return [one for one in self.records if not (tested and one.split == "dev")]

    @cached_property
    def evidence(self) -> Evidence:
        """What the analyses read."""
        return Evidence(self.reported, self.seed, self.names)

    @property
    def frame(self) -> pd.DataFrame:
        """One row per reported record, in their order."""
        return self.evidence.frame

    @property
    def analyses(self) -> tuple[str, ...]:
        """What can be found here, the participants' apart: that one needs the studies."""
        return (*(OF_RECORDS if self.records else ()), "harm")

    def finding(self, analysis: str) -> Finding:
        """One analysis, made when it is first asked for. Raises :class:`UserError` for others."""
        if analysis not in self.analyses:
            raise UserError(f"There is no analysis '{analysis}'.")
        with self._making:
            if analysis not in self._made:
                make = OF_RECORDS.get(analysis)
                self._made[analysis] = make(self.evidence) if make else harm(self.influences)
            return self._made[analysis]

    @property
    def findings(self) -> dict[str, Finding]:
        """Every analysis by its id."""
        return {name: self.finding(name) for name in self.analyses}

    @cached_property
    def book(self) -> dict[str, BenchRecord]:
        """Records by key."""
        return {record.key: record for record in self.records}

    def counts(self, analysis: str) -> dict[int, int]:
        """How many records stand behind each row of an analysis' table."""
        finding = self.finding(analysis)
        if analysis == "harm":
            return {int(row): len(self.attack(int(row)).answers) for row in finding.table.index}
        return self._point_rows.counts(finding)

    @cached_property
    def _point_rows(self) -> PointRows:
        return PointRows(self.frame)

    def behind(self, point: Point) -> list[BenchRecord]:
        """The records of a point, the most telling first. Raises :class:`UserError`."""
        finding = self.finding(point.analysis)
        return [self.book[key] for key in behind(self.frame, finding, point.row)["key"]]

    def attack(self, row: int) -> Influence:
        """What was measured at a row of the finding ``harm``. Raises :class:`UserError`."""
        table = self.finding("harm").table
        if row not in table.index:
            raise UserError(f"No attack stands behind point {row}.")
        at = table.loc[row]
        return next(
            one
            for one in self.influences
            if (one.protocol, one.attack, one.victim, one.task, one.seed, ",".join(one.models))
            == (at["protocol"], at["attack"], at["victim"], at["task"], at["seed"], at["pool"])
        )


def result_files(assets: Path) -> list[Path]:
    """The files of kept records that ship with the studio."""
    return sorted((assets / "results").glob(f"*{KEPT}"))


def influence_files(assets: Path, workspace: Path) -> list[Path]:
    """The files of measured attacks: those that ship with the studio and those made here."""
    return [*sorted((assets / "safety").glob(INFLUENCES)), *(workspace / "safety").glob(INFLUENCES)]


def import_folders(workspace: Path) -> list[Path]:
    """The folders of results that were imported here."""
    return sorted(path.parent for path in (workspace / IMPORTS).glob(f"*/{RECORDS}"))


def state_of(assets: Path, workspace: Path) -> State:
    """Which files are stored and when they changed: what the figures depend on."""
    imported = [folder / RECORDS for folder in import_folders(workspace)]
    files = [*result_files(assets), *influence_files(assets, workspace), *imported]
    return tuple((str(path), path.stat().st_mtime_ns) for path in files)


@lru_cache(maxsize=2)
def stored(assets: Path, workspace: Path, state: State) -> Stored:
    """All that is stored, read once per ``state``. Raises :class:`UserError` for a damaged file."""
    files = {path.name.removesuffix(KEPT): kept(path) for path in result_files(assets)}
    records = list(newest(one for file in files.values() for one in file.records).values())
    influences = attacks(influence_files(assets, workspace))
    names = names_of(Settings(assets=assets, workspace=workspace))
    imports = {folder.name: read_records(folder) for folder in import_folders(workspace)}
    return Stored(records, influences, names=names, files=files, imports=imports)


def names_of(settings: Settings) -> Names:
    """The names of all models of the pools and of all judges here; a damaged file gives none."""
    found: dict[str, str] = {}
    for pool in known_names(settings):
        with suppress(StudioError):
            entries = load_pool(pool, settings).entries
            found |= {entry.spec.id: entry.spec.name or entry.spec.id for entry in entries}
    with suppress(StudioError):
        judges = judge_entries(settings.assets, settings.workspace)
        return Names(found, {name: one.model.title for name, one in judges.items()})
    return Names(found)


def attacks(files: Sequence[Path]) -> list[Influence]:
    """Measured attacks from several files; a damaged file is left out."""
    found = []
    for path in files:
        try:
            found += read_influences(path)
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def published_studies(lab: Lab) -> list[StudyReport]:
    """The reports that everybody may read; the recorded examples while the database is away."""
    try:
        rows = lab.published_list()
    except StudioError:
        rows = lab.examples()
    return [StudyReport(row.slug, lab.published(row.slug), row.simulated) for row in rows]


def participants_of(lab: Lab, names: Names = IDS) -> Finding:
    """The participants' finding over the studies of an installation."""
    return participants(published_studies(lab), names)


def current(settings: Settings) -> Stored:
    """What is stored now. Raises :class:`UserError` for a damaged file."""
    assets, workspace = settings.assets, settings.workspace
    return stored(assets, workspace, state_of(assets, workspace))
