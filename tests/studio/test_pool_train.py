from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from protocols.core.errors import UserError
from protocols.training.sft import CONFIG, WEIGHTS, Trained
from studio import pool_cards, pool_recipes, pool_train
from studio.pool import load_pool
from studio.settings import Settings

SETTINGS = Settings()
ADAPTERS = SETTINGS.assets / "adapters"
LIMIT = 700_000
NUMBERS_PER_RANK = 305_280
FIRST_WEIGHTS = "27913bbbebda8b3aa1ab436f4c277affc5810d6918e59fb610940a075ec08780"


def models(preset: str) -> list[dict[str, Any]]:
    path = SETTINGS.assets / "pool" / f"{preset}.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    return found


def specialists() -> list[dict[str, Any]]:
    return [model for model in models("embedded") if "adapter" in model]


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


@pytest.mark.parametrize("preset", ["embedded", "embedded-32"])
def test_the_committed_pool_can_be_opened(preset: str) -> None:
    pool = load_pool(preset, SETTINGS)
    assert [entry.spec.id for entry in pool.entries].count(pool_cards.BASE_MODEL) == 1
    for entry in pool.entries:
        assert not entry.spec.adapter or Path(entry.spec.adapter).is_dir()


def test_committed_adapters_are_alike_small_and_safe() -> None:
    shapes = set()
    for folder in (path for path in ADAPTERS.iterdir() if path.is_dir()):
        names = sorted(path.name for path in folder.iterdir())
        assert set(names) - {pool_cards.CARD} == {CONFIG, WEIGHTS}
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= LIMIT * config["r"]
        shapes.add((config["lora_alpha"], tuple(config["target_modules"])))
        assert config["base_model_name_or_path"] == "smollm2-135m-instruct"
    assert len(shapes) == 1


def test_committed_cards_belong_to_the_committed_data_and_weights() -> None:
    """Training again from the files in the tree would change nothing."""
    from protocols.training.sft import fingerprint

    known = {one.id: one for one in pool_recipes.SPECIALISTS}
    for model in models("embedded-32")[1:]:
        one, training = known[model["id"]], model["card"]["training"]
        rows = one.rows()
        card = pool_cards.read_card(ADAPTERS / one.id)
        assert card["made_from"] == fingerprint(rows, one.config), one.id
        assert training["examples"] == len(rows)
        told = (training["rank"], training["seed"], training["steps"])
        assert told == (one.config.rank, one.config.seed, one.config.steps)
        config = json.loads((ADAPTERS / one.id / CONFIG).read_text(encoding="utf-8"))
        assert config["r"] == training["rank"]
        numbers = model["parameters"] - pool_cards.BASE_PARAMETERS
        assert numbers == training["rank"] * NUMBERS_PER_RANK
        size = (ADAPTERS / one.id / WEIGHTS).stat().st_size
        assert 2 * numbers < size < 2 * numbers + 80_000


def test_the_large_pool_begins_with_the_small_one() -> None:
    """Runs on the first twelve models mean the same in both pools, today and later."""
    small, large = models("embedded"), models("embedded-32")
    assert large[: len(small)] == small and len(small) == 12
    digest = hashlib.sha256()
    for model in small[1:]:
        digest.update((SETTINGS.assets / model["adapter"] / WEIGHTS).read_bytes())
    assert digest.hexdigest() == FIRST_WEIGHTS
    assert len({model["id"] for model in large}) == len(large) <= 32
    assert len(pool_recipes.SPECIALISTS) == 31


def test_a_card_says_what_differs_and_what_was_measured() -> None:
    first = {one.task for one in (*pool_recipes.FIRST, *pool_recipes.DOMAINS)}
    for one in pool_recipes.VARIANTS:
        assert set(one.tasks) <= first
        assert f"rank {one.config.rank}, seed {one.config.seed}" in one.about
        assert f"{len(one.rows())} rows" in one.about and one.differs in one.about
    for model in models("embedded-32")[1:]:
        results, tasks = model["card"]["results"], model["card"]["task"].split(",")
        assert model["tags"][: len(tasks)] == tasks
        assert results["own_domain"]["n"] >= 60 and results["others"]["n_each"] >= 8
        assert not set(tasks) & set(results["others"]["domains"])
        low, high = results["own_domain"]["ci95"]
        assert low <= results["own_domain"]["accuracy"] <= high
        assert results["base"]["n"] == results["own_domain"]["n"]


def test_no_contributor_was_trained_on_an_item_that_is_tested() -> None:
    """Neither word for word nor with other marks and letters' case, in whatever task it lies."""
    from evals.tasks import load_task, task_names

    kept = {
        spoken(item.question): item.id
        for task in task_names()
        for split in ("test", "dev", "heldout")
        for item in load_task(task).splits[split]  # type: ignore[index]
    }
    for one in pool_recipes.SPECIALISTS:
        seen = {kept.get(spoken(question)) for question, _ in one.rows()}
        assert seen == {None}, one.id


def spoken(question: str) -> str:
    return " ".join("".join(c if c.isalnum() or c in "+-" else " " for c in question).split())


def test_mixed_domains_are_one_result_of_all_their_items() -> None:
    tested = {
        "a": {"n": 100, "accuracy": 0.5, "low": 0.4, "high": 0.6, "unparsed": 3},
        "b": {"n": 80, "accuracy": 0.9, "low": 0.8, "high": 1.0, "unparsed": 1},
    }
    both = pool_cards.own_domain(tested, ["a", "b"])
    assert (both["n"], both["accuracy"], both["unparsed"]) == (180, round(122 / 180, 4), 4)
    # Wilson interval of 122 of 180, from scipy.stats.binomtest(122, 180).proportion_ci
    assert (both["low"], both["high"]) == pytest.approx((0.6064, 0.7417), abs=1e-4)
    assert pool_cards.own_domain(tested, ["a"]) == tested["a"]


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
    assert written(out, "embedded-32") == [pool_cards.BASE_MODEL, *ids]
    assert written(out, "embedded") == [pool_cards.BASE_MODEL, *ids[: len(pool_recipes.FIRST)]]
    pool = yaml.safe_load((out.parent / "pool" / "embedded.yaml").read_text(encoding="utf-8"))
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


def written(out: Path, preset: str) -> list[str]:
    text = (out.parent / "pool" / f"{preset}.yaml").read_text(encoding="utf-8")
    return [model["id"] for model in yaml.safe_load(text)["models"]]


def test_a_specialist_that_learned_nothing_is_in_the_pool_of_all_only(
    trained: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, made = trained
    monkeypatch.setattr(pool_train, "_by_task", _results(good=False))
    pool_train.train_pool(tmp_path, out, [pool_train.SPECIALISTS[0].id])
    assert written(out, "embedded") == [pool_cards.BASE_MODEL]
    assert written(out, "embedded-32") == [pool_cards.BASE_MODEL, *made]
    text = (out.parent / "pool" / "embedded-32.yaml").read_text(encoding="utf-8")
    assert "30 more are declared" in yaml.safe_load(text)["description"]


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
