"""A rater's own result as a picture in the language of the pages: the certificate."""

from __future__ import annotations

from evals.human.certificate import Certificate, Wording, certificate_svg
from studio.rating.pages import apart
from studio.rating.words import Words


def picture(own: Certificate, w: Words) -> str:
    """Return the certificate as SVG text in the words of ``w``."""
    return certificate_svg(own, wording(own, w))


def wording(own: Certificate, w: Words) -> Wording:
    """Return every word and number of the picture in one language."""
    found = own.counts
    labels = (
        w("certificate.part", label=w("thanks.system"), number=found.wins),
        w("certificate.part", label=w("thanks.ties"), number=found.ties),
        w("certificate.part", label=w("thanks.contributor"), number=found.losses),
    )
    lines, result = _about(own, w), _result(own, w)
    name = w("certificate.name", study=apart(own.title))
    return Wording(
        title=own.title,
        subtitle=" · ".join(lines),
        description=" · ".join((name, *lines, *labels, result)),
        labels=labels,
        numbers=(w.number(found.wins), w.number(found.ties), w.number(found.losses)),
        result=result,
        axis=(w.percent(0), w.percent(0.5), w.percent(1)),
        language=w.language,
        mirrored=w.direction == "rtl",
    )


def _about(own: Certificate, w: Words) -> list[str]:
    """What stands under the title: simulated or not, how many pairs, among how many raters."""
    lines = [w("certificate.simulated")] if own.simulated else []
    lines.append(w("certificate.judged", count=own.counts.n, day=w.day(own.locked_at)))
    if own.raters > 1:
        lines.append(w("certificate.among", count=own.raters))
    return lines


def _result(own: Certificate, w: Words) -> str:
    estimate = own.estimate
    if estimate.interval is None or estimate.value is None:
        return w("certificate.undecided")
    return w(
        "certificate.result",
        rate=w.percent(estimate.value, 1),
        level=w.percent(estimate.interval.level, 1),
        low=w.percent(estimate.interval.low, 1),
        high=w.percent(estimate.interval.high, 1),
        number=estimate.n,
    )
