"""A rater's own result, to keep: their bar of a figure like Figure 8 of Feng et al. (2026)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from evals.human.records import StudyData
from evals.human.reporting import words
from evals.human.reporting.basics import Counts, Estimate, Part
from evals.human.reporting.page import render
from evals.human.reporting.votes import Votes, counts, rate, tally
from evals.human.statistics.values import Tally
from protocols.core.errors import UserError

__all__ = [
    "Certificate",
    "Wording",
    "certificate",
    "certificate_from",
    "certificate_html",
    "certificate_svg",
]
TITLE_COLUMNS = 56


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a certificate's picture, in the language of whoever it is for.

    ``labels`` and ``numbers`` belong to the parts of the bar: system, tie, contributor. ``axis`` is
    0, 50 and 100 %. With ``mirrored`` everything runs from right to left.
    """

    title: str
    subtitle: str
    description: str
    labels: tuple[str, str, str]
    numbers: tuple[str, str, str]
    result: str
    axis: tuple[str, str, str] = ("0%", "50%", "100%")
    language: str = "en"
    mirrored: bool = False


class Certificate(Part):
    """What one rater chose, and how sure so few votes can be. It names nobody.

    ``together`` is the result of all raters of the study, of whom there were ``raters``; None and 0
    where only the rater's own counts are known.
    """

    title: str
    counts: Counts
    skips: int
    estimate: Estimate
    halved: Estimate
    together: Estimate | None = None
    raters: int = 0
    locked_at: str
    chain_head: str
    simulated: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """The result in words."""
        return tuple(_sentences(self))


def certificate(data: StudyData, rater: str) -> Certificate:
    """Return the result of the rater with this id. Raises :class:`UserError` without a vote."""
    votes = Votes(data)
    mine = [j for j in votes.main if j.rater == rater]
    if not mine:
        raise UserError("There is no counted vote of this rater, so there is no result to show.")
    own, raters = tally(mine), {j.rater for j in votes.main}
    return Certificate(
        title=data.spec.title,
        counts=counts(own),
        skips=sum(j.winner is None for j in mine),
        estimate=rate(own, votes.level),
        halved=rate(own, votes.level, "half"),
        together=rate(tally(votes.main), votes.level) if len(raters) > 1 else None,
        raters=len(raters),
        locked_at=data.locked_at,
        chain_head=data.chain_head,
        simulated=data.simulated,
    )


def certificate_from(own: Mapping[str, object], level: float = 0.95) -> Certificate:
    """Return the same from the counts that the rating service's ``certificate`` gives."""
    wins, losses, ties, skips = (int(str(own[k])) for k in ("wins", "losses", "ties", "skips"))
    found = Tally(wins, losses, ties)
    return Certificate(
        title=str(own["title"]),
        counts=counts(found),
        skips=skips,
        estimate=rate(found, level),
        halved=rate(found, level, "half"),
        locked_at=str(own["locked_at"]),
        chain_head=str(own["chain_head"]),
        raters=int(str(own.get("raters", 0))),
        simulated=bool(own.get("simulated", False)),
    )


def _sentences(own: Certificate) -> list[str]:
    found = own.counts
    said = (
        f"You compared {words.count(found.n, 'pair')}: {found.wins} for the participatory system, "
        f"{found.losses} for the contributor's own model, {words.count(found.ties, 'tie')}."
    )
    if own.estimate.interval is None:
        return [said]
    interval = own.estimate.interval
    room = f"the {words.level(interval)} interval is {words.spread(interval)}"
    sure = (
        f"That is a win rate of {words.percent(own.estimate.value)} without ties. "
        f"{words.count(own.estimate.n, 'vote')} leave room: {room}, and a coin gives a result at "
        f"least as one-sided with {words.p_value(own.estimate.p)}."
    )
    if own.together is None or own.together.value is None:
        return [said, sure]
    all_of_us = f"You were one of {own.raters}. All votes together: {words.estimate(own.together)}."
    return [said, sure, all_of_us]


def certificate_svg(own: Certificate, said: Wording | None = None) -> str:
    """Return the bar with its interval as a picture that stands alone; in English by default."""
    return render("certificate.svg", **_picture(own, said or _english(own)))


def certificate_html(own: Certificate) -> str:
    """Return a page with the picture and the result in words; it asks nothing of any server."""
    return render("certificate.html", own=own, **_picture(own, _english(own)))


def _picture(own: Certificate, said: Wording) -> dict[str, object]:
    return {
        "said": said,
        "shown_title": _fitted(said.title),
        "estimate": own.estimate,
        "parts_of": _parts(own.counts, said),
    }


def _english(own: Certificate) -> Wording:
    found, estimate = own.counts, own.estimate
    judged = f"{words.count(found.n, 'pair')} judged blind · opened {own.locked_at[:10]}"
    rate = f"{words.percent(estimate.value)} [{words.spread(estimate.interval)}]"
    return Wording(
        title=own.title,
        subtitle=f"Simulated rater · {judged}" if own.simulated else judged,
        description=" ".join(own.sentences),
        labels=(f"System: {found.wins}", f"Ties: {found.ties}", f"Own model: {found.losses}"),
        numbers=(str(found.wins), str(found.ties), str(found.losses)),
        result=f"Win rate without ties: {rate}, n = {estimate.n}"
        if estimate.interval
        else estimate.note,
    )


def _fitted(title: str) -> str:
    """The title cut to the picture's width; East Asian letters and emoji take two columns."""
    used = 0
    for place, letter in enumerate(title):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > TITLE_COLUMNS:
            return title[: place - 1].rstrip() + "…"
    return title


def _parts(found: Counts, said: Wording) -> list[tuple[str, str, float, float]]:
    """Name, number, start and width in percent of each part of the bar that is not empty."""
    made, start, n = [], 0.0, found.n
    sizes = (found.wins, found.ties, found.losses)
    for name, k, number in zip(("system", "tie", "contributor"), sizes, said.numbers, strict=True):
        width = 100 * k / n if n else 0.0
        if k:
            made.append((name, number, 100 - start - width if said.mirrored else start, width))
        start += width
    return made
