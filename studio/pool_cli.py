"""``studio pool``: contribute a model, check it, hold it back, train the embedded specialists."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import click

from protocols.core.errors import UserError
from studio.output import JSON, say
from studio.settings import Settings

WHO = click.option("--by", default=getpass.getuser, help="Who decides; kept with the decision.")


def said(command: Any) -> Any:
    """What is said about a contribution, as options."""
    options = {
        "--name": "Name to show.",
        "--contributor": "A person, group or project.",
        "--domain": "What it is meant to be good at, in a few words.",
        "--priorities": "What matters in its answers.",
        "--description": "One or two sentences.",
        "--licence": "Licence of the weights; required here or in README.md.",
        "--paper": "Link to a paper or report.",
        "--contact": "How the lab reaches the contributor; kept private.",
    }
    for name, told in reversed(options.items()):
        command = click.option(name, default="", help=told)(command)
    return command


@click.group()
def pool() -> None:
    """Contribute a model; check it; hold one back; train the embedded specialists."""


@pool.command("train")
@click.option("--only", default="", help="Ids, separated by commas (default: all of embedded-32).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for adapters and cards.")
@click.option(
    "--examples",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead: train one adapter from a .jsonl or .csv file with 'prompt' and 'answer'.",
)
@click.option("--id", "id", default="", help="With --examples: its id in the pool.")
@click.option("--pool", "into", default="", help="With --examples: the pool that it joins.")
@said
@click.option("--steps", type=click.IntRange(1), default=80, help="With --examples: at most.")
@click.option("--wait", is_flag=True, help="Leave it in quarantine until the lab releases it.")
@WHO
@JSON
def pool_train(
    only: str, out: Path | None, examples: Path | None, as_json: bool, **given: Any
) -> None:
    """Train the embedded specialists (resumes where interrupted), or an adapter from examples."""
    from studio.pool_train import train_command

    if examples:
        from studio.teach_command import teach_from_file

        teach_from_file(Settings(), examples, given, as_json)
        return
    if given["id"]:
        raise UserError("--id goes with --examples FILE. The specialists have ids: use --only.")
    train_command(Settings(), only, out, lambda row, text: say(row, as_json, text))


@pool.command("check")
@click.argument("pool_or_files", default="")
@click.option("--pool", "into", default="", help="Pool that files would join (default: opening).")
@click.option("--smoke/--no-smoke", default=True, help="Also make a few tokens with files.")
@JSON
def pool_check(pool_or_files: str, into: str, smoke: bool, as_json: bool) -> None:
    """Check a pool's models, or a folder or zip archive that might join one, as data.

    The id of a contributed model tries that one: for those on the hub once they were fetched.
    """
    from studio.contributed import listed

    path, settings = Path(pool_or_files), Settings()
    home = into or settings.pool
    if pool_or_files and (path.is_dir() or path.suffix.casefold() == ".zip"):
        bad = _check_files(path, home, smoke, as_json)
    elif pool_or_files in {row.get("id") for row in listed(home, settings)}:
        bad = _check_one(pool_or_files, home, as_json)
    else:
        bad = _check_listed(pool_or_files or settings.pool, as_json)
    sys.exit(1 if bad else 0)


def _check_listed(name: str, as_json: bool) -> int:
    from studio.pool import check_pool

    if "/" in name and not Path(name).exists():
        raise UserError(f"There is no folder, zip archive or pool file '{name[:200]}'.")
    bad = 0
    for model, problem in check_pool(name, Settings()):
        bad += bool(problem)
        text = f"{'FAIL' if problem else 'ok':<6}{model}  {problem}".rstrip()
        say({"model": model, "ok": not problem, "problem": problem}, as_json, text)
    return bad


def _check_files(path: Path, into: str, smoke: bool, as_json: bool) -> int:
    from studio.contributed import Offer, look

    bad = 0
    for finding in look([path], Offer(id="candidate", pool=into), Settings(), smoke):
        bad += finding.state == "fail"
        row = {"point": finding.point, "state": finding.state, "text": finding.text}
        say(row, as_json, finding.line())
    return bad


def _check_one(model: str, into: str, as_json: bool) -> int:
    from studio.hub_offer import try_listed

    def tell(found: Any) -> None:
        row = {"point": found.point, "state": found.state, "text": found.text}
        say(row, as_json, found.line())

    return sum(f.state == "fail" for f in try_listed(model, into, Settings(), tell))


@pool.command("add")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--id", "id", required=True, help="Its id in the pool: letters, digits, dots, dashes."
)
@click.option("--pool", "into", default="", help="Pool that it joins (default: the opening pool).")
@said
@click.option("--base", default="", help="Base of an adapter, if its own configuration lacks it.")
@click.option("--wait", is_flag=True, help="Leave it in quarantine until the lab releases it.")
@click.option("--smoke/--no-smoke", default=True, help="Make a few tokens before it is taken.")
@click.option(
    "--own",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Own test questions, .jsonl or .csv with 'prompt' and 'answer': model and base are asked.",
)
@WHO
@JSON
def pool_add(files: tuple[Path, ...], own: Path | None, as_json: bool, **given: Any) -> None:
    """Contribute a folder, a zip archive or the files of a model or LoRA adapter."""
    from studio.contributed import OwnData, add
    from studio.examples import TO_TEST, read_examples
    from studio.teach_command import offer_of

    settings = Settings()
    offer = offer_of(given, settings)
    rows = read_examples(own, TO_TEST) if own else ()
    done = add(
        offer,
        files,
        settings,
        who=given["by"],
        wait=given["wait"],
        try_out=given["smoke"],
        tell=lambda f: say({"point": f.point, "state": f.state, "text": f.text}, as_json, f.line()),
        own=OwnData(rows, rows) if rows else None,
    )
    left = f" Left behind: {', '.join(done.left[:6])}." if done.left else ""
    row = {"added": done.model, "pool": offer.pool, "left_behind": list(done.left)}
    say(row, as_json, f"'{done.model}' is in the pool '{offer.pool}'.{left}")


@pool.command("remove")
@click.argument("model")
@WHO
@JSON
def pool_remove(model: str, by: str, as_json: bool) -> None:
    """Withdraw a contributed model: it is deleted with everything that was fitted with it."""
    from studio.withdrawal import withdraw

    done = withdraw(model, Settings(), who=by)
    row = {"removed": model, "pool": done.pool, "artifacts": list(done.forgotten.artifacts)}
    say(row, as_json, done.sentence())


@pool.command("contact")
@click.argument("model")
@JSON
def pool_contact(model: str, as_json: bool) -> None:
    """Say how to reach a model's contributor, for the lab."""
    from studio.private_records import contact_of

    contact = contact_of(Settings().workspace, model)
    say({"model": model, "contact": contact}, as_json, contact or "Nobody said how to reach them.")


@pool.command("card")
def pool_card() -> None:
    """Print a template of the README.md that goes with a contributed model."""
    from studio.contributed import TEMPLATE

    click.echo(TEMPLATE, nl=False)


@pool.command("quarantine")
@click.argument("model", default="")
@click.option("--reason", default="", help="Why; shown to everybody who wants to use the model.")
@WHO
@JSON
def pool_quarantine(model: str, reason: str, by: str, as_json: bool) -> None:
    """Hold a model back: no run may use it. Without a model: list those held, and every word."""
    from studio.pool import load_pool, preset_names
    from studio.quarantine import Quarantine, known_model

    settings = Settings()
    held = Quarantine(settings.workspace)
    if not model:
        for word in held.history():
            text = f"{word.when}  {word.action:<11}{word.model}  {word.reason} ({word.who})"
            say(vars(word), as_json, text)
        return
    names = dict.fromkeys([*preset_names(settings), settings.pool])
    known_model(model, [load_pool(name, settings).specs for name in names])
    word = held.hold(model, reason, by)
    say(vars(word), as_json, f"'{model}' is held back. {word.sentence()}")


@pool.command("release")
@click.argument("model")
@click.option("--reason", default="released", help="What was found.")
@WHO
@JSON
def pool_release(model: str, reason: str, by: str, as_json: bool) -> None:
    """Let a held model be used again."""
    from studio.quarantine import Quarantine

    word = Quarantine(Settings().workspace).release(model, by, reason)
    say(vars(word), as_json, f"'{model}' can be used again.")
