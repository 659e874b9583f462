"""A lab verifies the blinding of its own study, and a leak would be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.human import studies
from evals.human.store import Store
from protocols.core.errors import UserError
from studio.rating import pages
from studio.rating import verify as verifying
from studio.rating.verify import verify
from tests.studio.rating_world import SYSTEM, make_pairs, make_spec, make_world


def test_a_sound_study_passes_every_check(tmp_path: Path) -> None:
    pairs = [*make_pairs(6), replace(make_pairs(1)[0], item="zqx-gold", gold="system")]
    world = make_world(tmp_path, pairs, repeat_share=0.25, gold_share=0.25)
    found = verify(world.store, world.spec.slug)
    assert found.ok, found
    assert len(found.checks) == 4
    assert "equal byte for byte" in found.checks[0].detail
    assert "✓" in found.html() and "✗" not in found.html()


def test_verifying_leaves_the_study_as_it_was(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    before = [world.rows(table) for table in ("rater", "assignment", "vote", "event")]
    verify(world.store, world.spec.slug)
    assert [world.rows(t) for t in ("rater", "assignment", "vote", "event")] == before


def test_a_text_that_names_an_arm_is_found(tmp_path: Path) -> None:
    pairs = [replace(make_pairs(1)[0], system=f"As {SYSTEM} I would say so.")]
    found = verify(make_world(tmp_path, pairs).store, "zqx-study")
    assert not found.ok
    assert SYSTEM in next(c.detail for c in found.checks if "name" in c.name)


def test_a_page_that_depends_on_the_arms_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path)
    plain, routes = pages.Pages.page, verifying.build_routes
    served: list[Store] = []

    def serving(open_store: Callable[[], Store], *given: Any, **more: Any) -> Any:
        served.append(open_store())
        return routes(open_store, *given, **more)

    def leaking(self: pages.Pages, *given: object, **more: object) -> object:
        answer = plain(self, *given, **more)  # type: ignore[arg-type]
        with served[-1].read() as connection:
            row = connection.exec_driver_sql("SELECT sum(length(system)) FROM pair").one()
        answer.headers["x-size"] = str(row[0])
        return answer

    monkeypatch.setattr(verifying, "build_routes", serving)
    monkeypatch.setattr(pages.Pages, "page", leaking)
    assert not verify(world.store, world.spec.slug).checks[0].ok


def test_a_study_without_pairs_has_nothing_to_verify(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'empty.db'}")
    studies.create_study(store, make_spec())
    with pytest.raises(UserError, match="no pairs"):
        verify(store, "zqx-study")
    store.close()
