from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocols.core.errors import UserError
from protocols.training.sft import CONFIG, WEIGHTS, Trained
from studio import pool_cards, pool_train
from studio.pool import load_pool
from studio.settings import Settings

SETTINGS = Settings()
ADAPTERS = SETTINGS.assets / "adapters"
LIMIT = 2_000_000


def specialists() -> list[dict[str, Any]]:
    path = SETTINGS.assets / "pool" / "embedded.yaml"
    models: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    return [model for model in models if "adapter" in model]


def test_the_committed_pool_has_ten_clearly_better_specialists() -> None:
    found = specialists()
    assert len(found) >= 10
    for model in found:
        results = model["card"]["results"]
        assert results["own_domain"]["n"] >= 80
        assert results["own_domain"]["accuracy"] - results["base"]["accuracy"] >= 0.2, model["id"]
        low, high = results["own_domain"]["ci95"]
        assert low <= results["own_domain"]["accuracy"] <= high
        assert low > results["base"]["ci95"][1]


def test_the_committed_pool_can_be_opened() -> None:
    pool = load_pool("embedded", SETTINGS)
    assert [entry.spec.id for entry in pool.entries].count(pool_cards.BASE_MODEL) == 1
    for entry in pool.entries:
        assert not entry.spec.adapter or Path(entry.spec.adapter).is_dir()


def test_committed_adapters_are_alike_small_and_safe() -> None:
    shapes = set()
    for folder in (path for path in ADAPTERS.iterdir() if path.is_dir()):
        names = sorted(path.name for path in folder.iterdir())
        assert names == [CONFIG, WEIGHTS, pool_cards.CARD]
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        shapes.add((config["r"], config["lora_alpha"], tuple(config["target_modules"])))
        assert config["base_model_name_or_path"] == "smollm2-135m-instruct"
    assert len(shapes) == 1


def test_committed_cards_belong_to_the_committed_data() -> None:
    """Training again from the files in the tree would change nothing."""
    from evals.tasks import load_task
    from protocols.training.sft import fingerprint

    for one in pool_train.SPECIALISTS:
        card = pool_cards.read_card(ADAPTERS / one.id)
        if card:
            items = load_task(one.task).splits["train"]
            rows = [(item.question, item.answer) for item in items]
            assert card["made_from"] == fingerprint(rows, one.config), one.id


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """The pool's own steps with the two expensive ones, training and answering, replaced."""
    made: list[str] = []

    def quick(_base: Path, rows: Any, out: Path, **_: Any) -> Trained:
        made.append(out.name)
        out.mkdir(parents=True)
        (out / WEIGHTS).write_bytes(_safetensors())
        (out / CONFIG).write_text("{}")
        return Trained(out, 1.0, "cpu", 0.1)

    monkeypatch.setattr(pool_train, "ensure_base", lambda workspace, say: tmp_path)
    monkeypatch.setattr(pool_train, "train_sft", quick)
    monkeypatch.setattr(pool_train, "load_base", lambda *_: (_Model(), None))
    monkeypatch.setattr(pool_train, "_by_task", _results(good=True))
    monkeypatch.setattr("peft.PeftModel.from_pretrained", lambda *_: _Model())
    return tmp_path / "assets" / "adapters", made


class _Model:
    def eval(self) -> _Model:
        return self


def _safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(12)


def _results(*, good: bool) -> Any:
    def by_task(_model: Any, _tokenizer: Any, items: Any, max_tokens: int) -> Any:
        right = 0.9 if good and max_tokens == pool_train.SPECIALIST_TOKENS else 0.1
        row = {"n": 100, "accuracy": right, "low": right, "high": right, "unparsed": 0}
        return {item.domain: row for item in items}

    return by_task


def test_training_writes_cards_and_the_pool(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, made = trained
    pool_train.train_pool(tmp_path, out)
    ids = [one.id for one in pool_train.SPECIALISTS]
    assert made == ids
    pool = yaml.safe_load((out.parent / "pool" / "embedded.yaml").read_text(encoding="utf-8"))
    assert [model["id"] for model in pool["models"]] == [pool_cards.BASE_MODEL, *ids]
    entry = pool["models"][1]
    assert entry["parameters"] == pool_cards.BASE_PARAMETERS + 6
    assert entry["card"]["results"]["own_domain"]["accuracy"] == 0.9
    assert entry["card"]["results"]["base"]["accuracy"] == 0.1


def test_training_again_trains_nothing(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    out, made = trained
    pool_train.train_pool(tmp_path, out)
    made.clear()
    said: list[str] = []
    pool_train.train_pool(tmp_path, out, progress=said.append)
    assert made == []
    assert sum("nothing changed" in line for line in said) == len(pool_train.SPECIALISTS)


def test_a_specialist_that_learned_nothing_stays_out(
    trained: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = trained
    monkeypatch.setattr(pool_train, "_by_task", _results(good=False))
    pool_train.train_pool(tmp_path, out)
    pool = yaml.safe_load((out.parent / "pool" / "embedded.yaml").read_text(encoding="utf-8"))
    assert [model["id"] for model in pool["models"]] == [pool_cards.BASE_MODEL]


def test_an_unknown_specialist_is_named(trained: tuple[Path, list[str]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="smollm2-astrology"):
        pool_train.train_pool(tmp_path, trained[0], ["smollm2-astrology"])


def test_the_command_line_gets_rows_and_lines(
    trained: tuple[Path, list[str]], tmp_path: Path
) -> None:
    out, made = trained
    seen: list[tuple[dict[str, Any], str]] = []
    settings = Settings(workspace=tmp_path)
    first, second = (one.id for one in pool_train.SPECIALISTS[:2])
    pool_train.train_command(settings, f"{first}, {second}", out, lambda *one: seen.append(one))
    assert made == [first, second]
    assert all(row == {"message": text} for row, text in seen)
