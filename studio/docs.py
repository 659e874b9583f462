"""Writes what is made of other files here; with ``--check`` says whether it is up to date.

These are the generated parts of README.md, each between ``<!-- name -->`` and ``<!-- /name -->``,
and the findings that ship beside the stored results they follow from.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from evals.results_file import KEPT, kept
from protocols.core.registry import protocols
from protocols.engines.ray_options import RayOptions
from studio.cli import main as command_line
from studio.pool import Entry, load_pool
from studio.pool_recipes import SPECIALISTS
from studio.results_tables import results_markdown
from studio.settings import REPOSITORY, Settings
from studio.stored_results import current, remember

README = REPOSITORY / "README.md"


def protocol_table() -> str:
    """One row per protocol."""
    rows = ["| protocol | level | what it does | source |", "|---|---|---|---|"]
    for spec in protocols().values():
        summary = spec.summary.split(". ")[0].rstrip(".") + "."
        source = f"[{spec.paper.title}]({spec.paper.url})"
        rows.append(f"| `{spec.id}` | {spec.level} | {summary} | {source} |")
    return "\n".join(rows)


def settings_table() -> str:
    """One row per protocol setting."""
    rows = ["| protocol | setting | default | meaning |", "|---|---|---|---|"]
    for spec in protocols().values():
        for name, field in spec.config.model_fields.items():
            cells = (f"`{spec.id}`", f"`{name}`", f"`{field.get_default()!r}`", field.description)
            rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def environment_table() -> str:
    """One row per environment setting."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    fields = Settings.model_fields.items()
    for name, field in sorted(fields, key=lambda item: item[0] in RayOptions.model_fields):
        default = field.get_default()
        shown = default.name if isinstance(default, Path) else default
        rows.append(f"| `STUDIO_{name.upper()}` | `{shown}` | {field.description} |")
    return "\n".join(rows)


def pool_table() -> str:
    """One row per model of the embedded pool, with its measured accuracies."""
    return _pool_rows(load_pool("embedded", Settings()).entries)


def large_pool_table() -> str:
    """How many models the large preset has, and one row for each that the opening pool lacks."""
    small = {entry.spec.id for entry in load_pool("embedded", Settings()).entries}
    entries = load_pool("embedded-32", Settings()).entries
    added = [entry for entry in entries if entry.spec.id not in small]
    missing = 1 + len(SPECIALISTS) - len(entries)
    still = f" {missing} more are declared and not trained yet." if missing else ""
    told = f"`embedded-32` has {len(entries)} models: those above and these {len(added)}.{still}"
    return f"{told}\n\n{_pool_rows(added)}"


def _pool_rows(entries: Sequence[Entry]) -> str:
    rows = ["| model | domain | own domain | base there |", "|---|---|---|---|"]
    for entry in entries:
        results = entry.card.get("results", {})
        own, base = results.get("own_domain", {}), results.get("base", {})
        if own and base:
            cells = f"{own['accuracy']:.0%} (n={own['n']}) | {base['accuracy']:.0%}"
            rows.append(f"| `{entry.spec.id}` | {entry.spec.contributor.domain} | {cells} |")
    return "\n".join(rows)


def command_table() -> str:
    """One row per command."""
    rows = ["| command | does |", "|---|---|"]
    for name, command in sorted(command_line.commands.items()):
        if isinstance(command, click.Group):
            for sub, inner in sorted(command.commands.items()):
                rows.append(
                    f"| `python -m studio {name} {sub}` | {inner.get_short_help_str(120)} |"
                )
        else:
            rows.append(f"| `python -m studio {name}` | {command.get_short_help_str(120)} |")
    return "\n".join(rows)


def layout_list() -> str:
    """Every file of the product with the first line of its docstring, or its first comment."""
    lines = ["```"]
    for package in ("protocols", "evals", "studio"):
        for path in sorted((REPOSITORY / package).rglob("*")):
            if path.suffix in (".py", ".js") and (about := _about(path)):
                lines.append(f"{path.relative_to(REPOSITORY).as_posix():<46} {about}")
    return "\n".join([*lines, "```"])


def _about(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        first = (ast.get_docstring(ast.parse(text)) or "").splitlines()[:1]
    else:
        first = [n.removeprefix("// ") for n in text.splitlines()[:1] if n.startswith("//")]
    return "" if path.name == "__init__.py" else "".join(first)


def results_tables() -> str:
    """For each file of stored results: every protocol beside what it has to beat."""
    paths = sorted((REPOSITORY / "assets" / "results").glob(f"*{KEPT}"))
    parts = [results_markdown(path.name.removesuffix(KEPT), kept(path)) for path in paths]
    return "\n\n".join(parts) or "No results are stored yet."


PARTS: dict[str, Callable[[], str]] = {
    "protocols": protocol_table,
    "settings": settings_table,
    "environment": environment_table,
    "pool": pool_table,
    "pool-32": large_pool_table,
    "commands": command_table,
    "results": results_tables,
    "layout": layout_list,
}


def generated(text: str) -> str:
    """The README text with every generated part made anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise click.ClickException(f"README.md has no part '{name}'.")
        made = make()
        text = pattern.sub(lambda m, made=made: f"{m[1]}{made}\n{m[2]}", text)  # type: ignore[misc]
    return text


def ship_findings(*, check: bool) -> bool:
    """Make the findings that ship anew if they are of other results or other code.

    False if they are and this is a ``check``.
    """
    with TemporaryDirectory() as nothing_here:
        settings = Settings(workspace=Path(nothing_here))
        found = current(settings)
        if not (found.known or check):
            remember(found, settings, ship=True)
    return bool(found.known) or not check


def main() -> int:
    """Write or check; returns the exit code."""
    before = README.read_text(encoding="utf-8")
    after = generated(before)
    if "--check" not in sys.argv:
        README.write_text(after, encoding="utf-8")
    elif before != after:
        click.echo("README.md is out of date: run make docs.", err=True)
        return 1
    if not ship_findings(check="--check" in sys.argv):
        click.echo("assets/results/findings.json.gz is out of date: run make docs.", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
