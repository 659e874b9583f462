"""Whether a contributed model's files may be loaded at all. Models are data, never code.

Headers and configuration are read here and, before an adapter is loaded, its numbers; nothing is
executed.
"""

from __future__ import annotations

from pathlib import Path

from protocols.core.errors import ContributorError
from protocols.core.models import ModelSpec
from protocols.engines.adapter_checks import check_adapter, check_numbers
from protocols.engines.model_files import check_regular, check_safetensors, read_json

__all__ = [
    "check_adapter",
    "check_folder",
    "check_model",
    "check_numbers",
    "check_safetensors",
    "check_to_load",
    "read_json",
]
MAX_TEMPLATE = 64 * 2**10
"""Characters of a chat template; the longest of well-known models have about 20,000."""
MAX_TOKENIZER = 64 * 2**20
MAX_LAYERS, MAX_WIDTH, MAX_VOCABULARY = 1024, 2**20, 2**22


def check_model(model: ModelSpec) -> None:
    """Check a model's local files. Raises :class:`ContributorError` with one sentence.

    A hub id or an endpoint has no local files and passes.
    """
    folder = Path(model.source)
    check_template(model, model.chat_template)
    if not model.is_endpoint and (folder.is_absolute() or model.source.startswith(".")):
        check_folder(model, folder)
    if model.adapter:
        check_adapter(model, Path(model.adapter))


def check_to_load(model: ModelSpec) -> None:
    """The same, and an adapter's numbers: what an engine asks before it takes a model in.

    Raises :class:`ContributorError` with one sentence.
    """
    check_model(model)
    check_numbers(model)


def check_folder(model: ModelSpec, folder: Path) -> None:
    """A full model: a configuration without code, a tokenizer, and weights as safetensors."""
    if not (folder / "config.json").is_file():
        raise ContributorError(
            f"'{model.id}': there is no model in the folder '{folder.name}'. If it is the embedded "
            "base, fetch it with: make setup."
        )
    check_regular(model, folder)
    _check_config(model, folder / "config.json")
    _check_tokenizer(model, folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ContributorError(f"'{model.id}' has no safetensors weights. Convert them first.")
    for path in weights:
        check_safetensors(model, path)


def _check_config(model: ModelSpec, path: Path) -> None:
    config = read_json(model, path)
    _refuse_code(model, config, path.name)
    limits = {
        "num_hidden_layers": MAX_LAYERS,
        "hidden_size": MAX_WIDTH,
        "intermediate_size": MAX_WIDTH,
        "vocab_size": MAX_VOCABULARY,
    }
    for name, most in limits.items():
        value = config.get(name, 1)
        if type(value) is not int or not 1 <= value <= most:
            raise ContributorError(
                f"'{model.id}': {name} in config.json is {str(value)[:40]}; it must be a number "
                f"from 1 to {most:,}."
            )


def _refuse_code(model: ModelSpec, config: dict[str, object], name: str) -> None:
    if config.get("auto_map"):
        raise ContributorError(
            f"'{model.id}' wants to run its own code (auto_map in {name}). Only architectures "
            "known to the engines are loaded."
        )


def _check_tokenizer(model: ModelSpec, folder: Path) -> None:
    """Sizes of what belongs to the tokenizer, and that it names no code of its own."""
    if (folder / "tokenizer_config.json").exists():
        config = read_json(model, folder / "tokenizer_config.json", 4 * 2**20)
        _refuse_code(model, config, "tokenizer_config.json")
        given = config.get("chat_template") or ""
        check_template(model, given if isinstance(given, str) else str(given))
    for name, most in (("tokenizer.json", MAX_TOKENIZER), ("chat_template.jinja", MAX_TEMPLATE)):
        path = folder / name
        if path.is_file() and path.stat().st_size > most:
            raise ContributorError(
                f"'{model.id}': {name} is larger than {most >> 10:,} KiB. Contribute a smaller one."
            )


def check_template(model: ModelSpec, template: str) -> None:
    """Refuse a chat template that is too long to be one."""
    if len(template) > MAX_TEMPLATE:
        raise ContributorError(
            f"'{model.id}': its chat template has {len(template):,} characters; at most "
            f"{MAX_TEMPLATE:,} are read."
        )
