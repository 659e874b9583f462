"""A rater's own result, to keep: their bar of a figure like Figure 8 of Feng et al. (2026)."""

from __future__ import annotations

from collections.abc import Mapping

from evals.human.records import StudyData
from evals.human.reporting import words
from evals.human.reporting.basics import Counts, Estimate, Part
from evals.human.reporting.page import render
from evals.human.reporting.votes import Votes, counts, rate, tally
from evals.human.statistics.values import Tally
from protocols.core.errors import UserError

__all__ = ["Certificate", "certificate", "certificate_from", "certificate_html", "certificate_svg"]


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
    """Return the same from the counts that :meth:`evals.human.desk.Desk.certificate` gives."""
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


def certificate_svg(own: Certificate) -> str:
    """Return the bar with its interval as a picture that stands alone."""
    return render("certificate.svg", own=own, parts_of=_parts(own.counts))


def certificate_html(own: Certificate) -> str:
    """Return a page with the picture and the result in words; it asks nothing of any server."""
    return render("certificate.html", own=own, parts_of=_parts(own.counts))


def _parts(found: Counts) -> list[tuple[str, int, float, float]]:
    """Name, count, start and width in percent of each part of the bar."""
    made, start, n = [], 0.0, found.n
    for name, k in (("system", found.wins), ("tie", found.ties), ("contributor", found.losses)):
        width = 100 * k / n if n else 0.0
        made.append((name, k, start, width))
        start += width
    return made
