"""Verify my blinding: does anything that a rater's browser receives depend on the arms?

The study's own plan and pairs are put twice into a database of their own. In the second one the
arms are swapped and the sides with them, so that the texts shown stay the same. A program then
rates both from the invitation to the last page. Every answer must be equal byte for byte, but for
nonces and receipts, and no name of an arm, an item or a run may occur in any of them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.testclient import TestClient

from evals.human import raters, studies
from evals.human.ledger import verify_chain
from evals.human.records import PairText, Refused
from evals.human.store import Store
from evals.human.study import StudySpec
from protocols.core.errors import EngineError, UserError
from studio.rating.options import RatingOptions
from studio.rating.routes import build_routes
from studio.rating.walker import walk

CLOCK = 1_800_000_000.0
MAX_PAIRS = 25
SWAP = (
    "UPDATE pair SET contributor = system, system = contributor, raw_contributor = raw_system, "
    "raw_system = raw_contributor, hits_contributor = hits_system, hits_system = hits_contributor,"
    " cut_contributor = cut_system, cut_system = cut_contributor, "
    "run_contributor = run_system, run_system = run_contributor, gold = "
    "CASE gold WHEN 'system' THEN 'contributor' WHEN 'contributor' THEN 'system' END",
    "UPDATE assignment SET system_side = CASE system_side WHEN 'left' THEN 'right' ELSE 'left' END",
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """Everything that was looked at."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all of it was as it must be."""
        return all(check.ok for check in self.checks)

    def html(self) -> str:
        """A list for the Studies page."""
        rows = "".join(
            f"<li><strong>{'✓' if c.ok else '✗ FAILED'} {escape(c.name)}</strong>: "
            f"{escape(c.detail)}</li>"
            for c in self.checks
        )
        return f"<ul class='studio-checks' role='status'>{rows}</ul>"


def verify(store: Store, slug: str) -> Verification:
    """Check a study's blinding and its vote chain.

    Raises :class:`UserError` for a study without pairs.
    """
    row, pairs = studies.load_study(store, slug), studies.list_pairs(store, slug)
    if not pairs:
        raise UserError(f"'{slug}' has no pairs yet, so there is nothing to verify.")
    with tempfile.TemporaryDirectory() as name:
        plain, swapped = _sessions(row.spec, pairs, Path(name))
    return Verification(
        (
            _same(plain, swapped),
            _no_names(row.spec, pairs, plain),
            _sealed(store, slug, row.state),
            _chain(store, slug),
        )
    )


def _sessions(
    spec: StudySpec, pairs: Sequence[PairText], folder: Path
) -> tuple[list[bytes], list[bytes]]:
    """Every answer of a whole session, as the arms are and with the arms swapped."""
    original = folder / "plain.db"
    token = _copy(spec, pairs, original)
    shutil.copy(original, folder / "swapped.db")
    secret = secrets.token_bytes(32)
    return (
        _session(original, token, secret, swap=False),
        _session(folder / "swapped.db", token, secret, swap=True),
    )


def _votes(store: Store) -> int:
    """How many votes a copy has. A walk that rated nothing would prove nothing."""
    with store.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM vote").scalar_one())


def _copy(spec: StudySpec, pairs: Sequence[PairText], file: Path) -> str:
    """The study in a database of its own, open, with one rater who has consented to nothing yet."""
    count = min(MAX_PAIRS, spec.pairs_per_rater)
    again = spec.model_copy(update={"pairs_per_rater": count})
    store = Store.open(f"sqlite:///{file}")
    try:
        studies.create_study(store, again)
        studies.add_pairs(store, spec.slug, pairs)
        studies.mark_reviewed(store, spec.slug)
        studies.open_study(store, spec.slug)
        return raters.invite(store, spec.slug)[0]
    finally:
        store.close()


def _session(file: Path, token: str, secret: bytes, *, swap: bool) -> list[bytes]:
    store = Store.open(f"sqlite:///{file}")
    options = RatingOptions(secret, posts_per_minute=10**6, pages_per_minute=10**6)
    routes = build_routes(lambda: store, options, now=lambda: CLOCK)
    try:
        with TestClient(Starlette(routes=routes), follow_redirects=False) as client:
            answers = []
            for number, answer in enumerate(walk(client, token)):
                # The rater's plan exists once the consent, the third answer, was taken.
                if swap and number == 2:
                    _swap(store)
                answers.append(_normal(answer))
            if not _votes(store):
                raise EngineError("The program that rates could not get to a pair; see the log.")
            return answers
    finally:
        store.close()


def _swap(store: Store) -> None:
    with store.write() as connection:
        for statement in SWAP:
            connection.exec_driver_sql(statement)


def _normal(answer: bytes) -> bytes:
    """An answer with what differs by chance blotted out."""
    text = answer.decode()
    text = re.sub(r'(name="nonce" value=")[^"]+', r"\1NONCE", text)
    text = re.sub(r'rater_note="?saved [^;]+', "rater_note=RECEIPT", text)
    return re.sub(r"(✓[^<]*?)[0-9a-f]{12}", r"\1RECEIPT", text).encode()


def _same(plain: Sequence[bytes], swapped: Sequence[bytes]) -> Check:
    name = "Swapping the arms changes nothing that a rater receives"
    wrong = [n for n, (a, b) in enumerate(zip(plain, swapped, strict=False)) if a != b]
    size = sum(map(len, plain))
    if wrong or len(plain) != len(swapped):
        first = wrong[0] if wrong else min(len(plain), len(swapped))
        return Check(name, False, f"Answer {first + 1} of {len(plain)} differs.")
    return Check(name, True, f"{len(plain)} answers, {size:,} bytes, equal byte for byte.")


def _no_names(spec: StudySpec, pairs: Sequence[PairText], answers: Sequence[bytes]) -> Check:
    name = "No name of an arm, an item or a run is sent"
    seen = b"\n".join(answers).decode().lower()
    hidden = sorted(_names(spec, pairs))
    found = [word for word in hidden if any(form in seen for form in disguises(word))]
    if found:
        return Check(name, False, f"Found: {', '.join(found[:5])}.")
    return Check(name, True, f"{len(hidden)} names, each in seven disguises, are nowhere.")


def _names(spec: StudySpec, pairs: Sequence[PairText]) -> set[str]:
    names = {arm.model for arm in spec.contributors} | {spec.system.protocol, *spec.system.models}
    for pair in pairs:
        names |= {pair.item, pair.run_contributor, pair.run_system}
    return {name for name in names if len(name) >= 4}


def disguises(name: str) -> Iterator[str]:
    """A name as it could hide in an answer, in small letters."""
    raw = name.encode()
    yield name.lower()
    yield quote(name, safe="").lower()
    yield raw.hex()
    yield base64.b64encode(raw).decode().lower()
    for kind in ("md5", "sha1", "sha256"):
        yield hashlib.new(kind, raw).hexdigest()


def _sealed(store: Store, slug: str, state: str) -> Check:
    name = "Results are sealed until the lock"
    if state == "locked":
        return Check(name, True, "The study is locked; its results are open now.")
    try:
        studies.study_data(store, slug)
    except Refused:
        return Check(name, True, "The store refuses to join votes with arms.")
    return Check(name, False, "The store gave results before the lock.")


def _chain(store: Store, slug: str) -> Check:
    found = verify_chain(store, slug)
    detail = f"{found.votes} votes, head {found.head[:12]}."
    if not found.ok:
        detail = f"Broken at vote {found.first_bad}. Restore the last backup."
    return Check("No vote was changed or removed", found.ok, detail)
