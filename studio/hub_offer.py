"""A contribution that lies on the model hub: checked by its page, without fetching its weights.

What cannot be known from here is said so; the lab fetches and tries the model before it lets it in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from protocols.core.errors import EngineError, UserError
from protocols.core.models import Contributor, ModelSpec
from protocols.engines.hub import HubFacts, hub_facts, is_hub_id
from studio.contributed import Added, Offer, OwnData, check_id, enlist, made
from studio.pool import Pool, load_pool
from studio.settings import Settings
from studio.verdict import Finding, raise_for

MOST_PARAMETERS = 100e9
UNREACHED = (
    "the hub cannot be reached from here, so only the form of its id was checked; the lab looks at "
    "its page and tries it before it lets it in"
)


def add_from_hub(
    offer: Offer,
    repo: str,
    settings: Settings,
    *,
    who: str,
    tell: Callable[[Finding], None] = lambda finding: None,
    own: OwnData | None = None,
    ask: Callable[[str], HubFacts] = hub_facts,
) -> Added:
    """Check what the hub says of a model and leave it waiting for the lab.

    Raises :class:`UserError` for an id that is used or has not the form OWNER/NAME, and
    :class:`ContributorError` with the first point that failed.
    """
    pool = load_pool(offer.pool, settings)
    check_id(offer, pool, settings, wait=True)
    if not is_hub_id(repo):
        raise UserError(f"'{repo[:80]}' is no model of the hub. Write OWNER/NAME.")
    _spec(offer, repo, None)
    findings: list[Finding] = []
    facts = _asked(repo, ask)
    for finding in _findings(offer, repo, facts, pool):
        tell(finding)
        findings.append(finding)
    raise_for(offer.id, findings)
    spec = _spec(offer, repo, facts)
    card = {"priorities": offer.priorities} if offer.priorities else {}
    row = spec.model_dump(mode="json", exclude_defaults=True) | ({"card": card} if card else {})
    enlist(offer, row, settings, who, own)
    return Added(offer.id, tuple(findings), ())


def _asked(repo: str, ask: Callable[[str], HubFacts]) -> HubFacts | None:
    """The hub's answer; None while it cannot be reached."""
    try:
        return ask(repo)
    except EngineError:
        return None


def _findings(offer: Offer, repo: str, facts: HubFacts | None, pool: Pool) -> Iterator[Finding]:
    twin = next((one.id for one in pool.specs if one.source == repo and not one.adapter), "")
    if twin:
        yield Finding("duplicate", "fail", f"the same model as '{twin}'")
    if facts is None:
        yield Finding("hub", "note", UNREACHED)
    else:
        yield from _of_page(facts)
    licence = offer.licence or (facts.licence if facts else "")
    if not licence:
        yield Finding("licence", "fail", "none is stated, neither here nor on its page")
    else:
        yield Finding("licence", "ok", licence)


def _of_page(facts: HubFacts) -> Iterator[Finding]:
    """What a model's page says about whether it can be served safely."""
    if not any(name.endswith(".safetensors") for name in facts.files):
        yield Finding("weights", "fail", "there are no safetensors weights; convert them first")
    else:
        yield Finding("weights", "ok", f"safetensors, {facts.parameters / 1e9:.3g}B parameters")
    if "adapter_config.json" in facts.files:
        yield Finding("weights", "fail", "it is an adapter; upload its files instead")
    if facts.runs_code:
        yield Finding("code", "fail", "it needs code of its own, which is never run here")
    yield _architecture(facts.architectures)
    if facts.parameters > MOST_PARAMETERS:
        yield Finding("size", "fail", f"more than {MOST_PARAMETERS / 1e9:.0f}B parameters")


def _architecture(names: tuple[str, ...]) -> Finding:
    if not names:
        return Finding("architecture", "note", "its page names none; the lab looks")
    told = ", ".join(names)
    if set(names) & _architectures():
        return Finding("architecture", "ok", f"{told}: known to the engines")
    return Finding("architecture", "fail", f"{told}: generates no text that the engines know")


@cache
def _architectures() -> frozenset[str]:
    """Names of what generates text in the installed library."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    names = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    return frozenset(one for name in names for one in ([name] if isinstance(name, str) else name))


def _spec(offer: Offer, repo: str, facts: HubFacts | None) -> ModelSpec:
    who = Contributor(
        name=offer.contributor,
        domain=offer.domain,
        description=offer.description,
        paper=offer.paper,
        licence=offer.licence or (facts.licence if facts else ""),
    )
    fields = {
        "id": offer.id,
        "name": offer.name[:80],
        "source": repo,
        "revision": facts.revision if facts else "",
        "contributor": who,
        "parameters": facts.parameters if facts else 0,
        "tags": ("contributed",),
    }
    return made(fields)
