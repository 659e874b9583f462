"""``studio judges``: the automatic judges that studies can name, and how ours are made."""

from __future__ import annotations

import click

from studio.output import JSON, say
from studio.settings import Settings


@click.group()
def judges() -> None:
    """List the automatic judges; train and measure the embedded ones."""


@judges.command("list")
@JSON
def list_judges(as_json: bool) -> None:
    """List the judges that a study can name, with what was measured about them."""
    from evals.judges.registry import BASELINES, about, judge_entries

    settings = Settings()
    for entry in judge_entries(settings.assets, settings.workspace).values():
        found = entry.card.get("tested", {}).get("all", {})
        row = {**entry.spec.model_dump(mode="json"), "tested": found}
        row["finding"] = entry.card.get("finding", "")
        told = f"{entry.spec.note} {row['finding']}".rstrip()
        say(row, as_json, f"{entry.spec.id:<20}{entry.spec.kind:<12}{told}")
    for name, judge in BASELINES.items():
        told = about(judge)
        say(
            {"id": name, "kind": "baseline", "note": told},
            as_json,
            f"{name:<20}{'baseline':<12}{told}",
        )


@judges.command("train")
@click.option(
    "--judge", is_flag=True, help="Train the judge too, which prefers what it finds likelier."
)
@JSON
def train(judge: bool, as_json: bool) -> None:
    """Train the embedded reward model and measure it (resumes where it was interrupted)."""
    from studio.judge_measure import measure_judges
    from studio.judge_train import train_judges

    settings = Settings()
    out = settings.assets / "judges"

    def tell(text: str) -> None:
        say({"message": text}, as_json, text)

    train_judges(settings.workspace, out, tell, with_judge=judge)
    measure_judges(settings.workspace, out, tell)
