"""The command ``studio score``: more scores for the answers of a bench; see evals.rescoring."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from protocols.core.errors import unknown
from studio.output import JSON, say
from studio.settings import Settings

REWARD_JUDGE, LLM_JUDGE = "smollm2-reward", "smollm2-judge"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--metric", type=click.Choice(["reward", "judge", "diversity"]), required=True)
@click.option("--judge", default="", help="A judge's id; see: studio judges list.")
@click.option(
    "--encoder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a sentence-transformers model (default: runs of letters, no model).",
)
@click.option("--limit", type=click.IntRange(0), default=0, help="Records to score; 0 = all.")
@click.option("--engine", type=click.Choice(["auto", "vllm", "transformers"]), default="auto")
@JSON
def score(as_json: bool, **given: Any) -> None:
    """Add rewards, verdicts or diversity to the records in FOLDER; goes on where it stopped."""
    done, warned = asyncio.run(score_folder(Settings(), given))
    say({"scored": done, "warnings": warned}, as_json, f"{done} records were scored.")
    sys.exit(1 if warned else 0)


async def score_folder(settings: Settings, given: dict[str, Any]) -> tuple[int, int]:
    """Score from command-line values. Returns how many records were scored, and the warnings.

    Raises :class:`UserError` for an unknown judge, or one of the other kind.
    """
    from evals.rescoring import add_scores
    from protocols.engines.hosting import HostedEngine

    engine = HostedEngine(prefer=given["engine"])
    done = warned = 0
    try:
        name, source, make = _metric(settings, given, engine)
        steps = add_scores(given["folder"], name, source, make, given["limit"])
        async with aclosing(steps):
            async for step in steps:
                if step.level == "warning":
                    warned += 1
                    click.echo(step.note, err=True)
                else:
                    done = int(step.done)
                    click.echo(f"\r{done} of {step.total:.0f}", nl=False, err=True)
        click.echo("", err=True)
    finally:
        await engine.close()
    return done, warned


def _metric(settings: Settings, given: dict[str, Any], engine: Any) -> tuple[str, str, Any]:
    """The name of the score, what gives it, and how it is made."""
    from evals.metrics.diversity import by_letters, by_sentences
    from evals.rescoring import ALIKE, REWARD, judge_score, judged, likeness, rewards
    from protocols.training.reward_scorer import load_scorer

    if given["metric"] == "diversity":
        encoder: Path | None = given["encoder"]
        encode = by_sentences(str(encoder)) if encoder else by_letters
        return ALIKE, encoder.name if encoder else "letters", likeness(encode)
    from evals.judges.fingerprints import weights_hash
    from evals.judges.registry import judge_entries, make_judges

    entries = judge_entries(settings.assets, settings.workspace)
    reward = given["metric"] == "reward"
    named = given["judge"] or (REWARD_JUDGE if reward else LLM_JUDGE)
    if reward and (named not in entries or entries[named].spec.kind != "reward"):
        rewarders = [one for one, entry in entries.items() if entry.spec.kind == "reward"]
        raise unknown("reward model", named, rewarders)
    if reward:
        model = entries[named].model
        source = f"{named} {weights_hash(model)}"
        return REWARD, source, rewards(given["folder"], load_scorer(model))
    judge = make_judges([named], entries, engine)[0]
    return judge_score(judge.id), f"{judge.id} {judge.model_hash}", judged(given["folder"], judge)
