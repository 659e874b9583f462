"""What fitting made, on the command line: listed, saved as models, and used as a pool."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from protocols.core.artifacts import Stored
from protocols.core.errors import UserError
from protocols.core.models import ModelSpec, pick
from protocols.core.registry import protocols
from protocols.lib.roles import role_of
from studio.output import JSON, say
from studio.pool import load_pool
from studio.settings import Settings
from studio.workspace import Workspace

POOL_FILE = "pool.yaml"
STUDENT = "student."
VLLM_RANKS = (8, 16, 32, 64, 128, 256)
"""The ranks that vLLM can be told to make room for; it serves all lower ones too."""
FOLDER = click.Path(path_type=Path)


@click.group()
def artifact() -> None:
    """List what fitting made; save its models; use its students as a pool."""


@artifact.command("list")
@click.option("--protocol", default="", help="Only this protocol's.")
@JSON
def list_artifacts(protocol: str, as_json: bool) -> None:
    """List artifacts by protocol, each protocol's newest first."""
    for stored in stored_artifacts(Settings(), protocol):
        about = stored.manifest
        models = [model.id for model in about.models]
        derived = [one.id for one in about.derived]
        row = {"protocol": about.protocol, "key": about.key, "task": about.task, "models": models}
        text = f"{about.key}  {about.protocol:<24}{about.task:<24}{', '.join(derived) or '-'}"
        say({**row, "derived": derived, "metrics": about.metrics}, as_json, text)


@artifact.command("save")
@click.argument("key")
@click.option("--out", type=FOLDER, required=True, help="The new folder to save into.")
@click.option("--model", default="", help="Which of its models (default: the first).")
@click.option("--pool", default="", help="The pool that it was made from.")
@click.option("--whole", is_flag=True, help="Add an adapter to its base: an ordinary model.")
@JSON
def save(key: str, out: Path, model: str, pool: str, whole: bool, as_json: bool) -> None:
    """Save a model as a folder that transformers, peft and vLLM load, with its card."""
    from protocols.lib.saving import derived_model, save_model

    stored, models = found(Settings(), key, pool)
    chosen = derived_model(stored, models, model)
    save_model(chosen, out, whole)
    kind = "model" if whole or not chosen.adapter else "adapter"
    told = f"{chosen.id} is saved in {out}. {how_to_serve(chosen, out, kind)}"
    say({"model": chosen.id, "kind": kind, "folder": str(out)}, as_json, told)


@artifact.command("pool")
@click.argument("key")
@click.option("--out", type=FOLDER, required=True, help="The new folder to save into.")
@click.option("--pool", default="", help="The pool that it was made from.")
@JSON
def as_pool(key: str, out: Path, pool: str, as_json: bool) -> None:
    """Save the students of a distillation as a pool that every protocol can use."""
    stored, models = found(Settings(), key, pool)
    students = [one for one in stored.derived(models) if STUDENT in one.id]
    if not students:
        raise UserError(f"The artifact '{key}' holds no students. Name one of distillation.")
    if out.exists():
        raise UserError(f"'{out.name}' exists already. Name a new folder to save into.")
    rows = [pool_row(one, models, out) for one in students]
    host = next(m for m in models if m.id == stored.manifest.derived[0].base)
    if not host.adapter:
        rows.insert(0, host.model_dump(mode="json", exclude_defaults=True))
    about = {
        "title": f"Students on {host.title}",
        "description": f"Distilled on {stored.manifest.task} from {len(students)} models.",
        "models": rows,
    }
    file = out / POOL_FILE
    file.write_text(yaml.safe_dump(about, sort_keys=False, allow_unicode=True), encoding="utf-8")
    row = {"pool": str(file), "models": [one["id"] for one in rows]}
    say(row, as_json, f"{len(rows)} models are saved. Use them with: --pool {file}")


def pool_row(student: ModelSpec, models: tuple[ModelSpec, ...], out: Path) -> dict[str, object]:
    """Save a student and describe it as a pool does, with its teacher's contributor."""
    from protocols.lib.saving import save_model

    name = student.id.removeprefix("derived.")
    save_model(student, out / name)
    teacher = next((m for m in models if name == role_of("student", m.id)), student)
    changes = {"id": name, "adapter": str((out / name).resolve()), "tags": teacher.tags}
    told = student.model_copy(update={**changes, "contributor": teacher.contributor})
    return told.model_dump(mode="json", exclude_defaults=True)


def found(settings: Settings, key: str, pool: str) -> tuple[Stored, tuple[ModelSpec, ...]]:
    """An artifact and the models that it was made from, in its order.

    Raises :class:`UserError` if there is none or the pool has other models.
    """
    fits = [one for one in stored_artifacts(settings) if one.manifest.key == key]
    if not fits:
        raise UserError(f"There is no artifact '{key[:40]}' here. See: studio artifact list.")
    about = fits[0].manifest
    models = pick(load_pool(pool or settings.pool, settings).specs, [m.id for m in about.models])
    store = Workspace(settings.workspace, settings.assets).artifacts
    stored = store.find(about.protocol, key, models, {})
    assert stored
    stored.check()
    return stored, models


def stored_artifacts(settings: Settings, protocol: str = "") -> Iterator[Stored]:
    """All artifacts here, or one protocol's."""
    store = Workspace(settings.workspace, settings.assets).artifacts
    for name in protocols():
        if protocol in ("", name):
            yield from store.list(name)


def how_to_serve(model: ModelSpec, out: Path, kind: str) -> str:
    """The command that serves what was saved."""
    from protocols.lib.lora_algebra import CONFIG

    if kind == "model":
        return f"Serve it with: vllm serve {out}"
    stated = json.loads((out / CONFIG).read_text(encoding="utf-8"))["r"]
    rank = next(rank for rank in VLLM_RANKS if rank >= stated)
    adapter = f"--enable-lora --max-lora-rank {rank} --lora-modules {out.name}={out}"
    return f"Serve it with: vllm serve {model.source} {adapter}"
