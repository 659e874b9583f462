"""How well a simple classifier tells the arms apart by their texts alone.

If it can, so can raters and judges: they recognise a style, and blinding fails although every name
is hidden. The classifier is a logistic regression on character n-grams and lengths. It is judged on
items that it has not seen: both answers to a question are in the same fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evals.human.records import PairText
from evals.human.study import Arm

if TYPE_CHECKING:
    import numpy as np

LEAST_ITEMS = 10
MOST_ITEMS = 1000
"""Of more items a random sample is looked at: the comparisons grow with the square."""
FOLDS = 5
DRAWS = 1000
WARN_ABOVE = 0.75
TOP = 12


@dataclass(frozen=True, slots=True)
class Feature:
    """A piece of text that speaks for an arm, or a length; ``weight`` in log-odds.

    ``⟨`` and ``⟩`` stand for the beginning and the end of an answer.
    """

    text: str
    arm: Arm
    weight: float


@dataclass(frozen=True, slots=True)
class Blindability:
    """The area under the ROC curve, .5 for arms that cannot be told apart, 1 for plain signs.

    It is the share of held-out comparisons, a system's answer with a contributor's of the same
    fold, in which the classifier is right. ``low`` and ``high``: a percentile bootstrap over items
    (95 %); it does not count what another training set would change. ``auc`` is None with too few
    items.
    """

    items: int
    seed: int
    auc: float | None = None
    low: float | None = None
    high: float | None = None
    features: tuple[Feature, ...] = ()
    note: str = ""

    @property
    def warning(self) -> bool:
        """Whether the arms can be told apart too easily."""
        return self.auc is not None and self.auc > WARN_ABOVE


def blindability(pairs: Sequence[PairText], seed: int = 0) -> Blindability:
    """Measure it on the masked texts of the main pairs; the same pairs and seed, the same result.

    Gold pairs are left out: their answers were exchanged.
    """
    import numpy as np

    mains = sorted((p for p in pairs if p.gold is None), key=lambda p: p.item)
    if len(mains) < LEAST_ITEMS:
        note = f"{len(mains)} pairs are too few to tell; at least {LEAST_ITEMS} are needed."
        return Blindability(len(mains), seed, note=note)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(mains))[:MOST_ITEMS])
    mains = [mains[i] for i in chosen]
    texts = [text for pair in mains for text in (pair.contributor, pair.system)]
    arms = np.tile([0, 1], len(mains))
    fold_of = rng.permutation(len(mains)) % FOLDS
    wins = _wins(_held_out(texts, arms, fold_of))
    # Scores of different folds come from different classifiers; comparing them biases the area.
    same = (fold_of[:, None] == fold_of[None, :]).astype(float)
    auc = float(weighted_auc(wins, same, np.ones((1, len(mains))))[0])
    draws = rng.multinomial(len(mains), np.full(len(mains), 1 / len(mains)), size=DRAWS)
    low, high = np.percentile(weighted_auc(wins, same, draws.astype(float)), [2.5, 97.5])
    return Blindability(
        len(mains), seed, auc, float(low), float(high), tuple(_features(texts, arms)),
        _sentence(auc),
    )  # fmt: skip


def _sentence(auc: float) -> str:
    if auc > WARN_ABOVE:
        return (
            "The arms can be told apart by their style; look at the features, consider plain text "
            "or the same style of prompt for both, and report the blinding guesses."
        )
    return ""


def _classifier() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    grams = TfidfVectorizer(
        analyzer="char",
        ngram_range=(1, 3),
        preprocessor=_with_edges,
        sublinear_tf=True,
        max_features=20_000,
    )
    lengths = make_pipeline(FunctionTransformer(_lengths), StandardScaler())
    return make_pipeline(make_union(grams, lengths), LogisticRegression(C=10.0, max_iter=2000))


def _with_edges(text: str) -> str:
    """How an answer begins and ends tells most, so beginning and end are characters too."""
    return f"{EDGES[0]}{text}{EDGES[1]}"


EDGES = "⟨⟩"
LENGTHS = ("characters", "words", "lines")


def _lengths(texts: Sequence[str]) -> np.ndarray:
    """Logarithms of the number of characters, words and lines; shape (texts, 3)."""
    import numpy as np

    counts = [(len(t), len(t.split()), t.count("\n") + 1) for t in texts]
    logs: np.ndarray = np.log1p(np.asarray(counts, dtype=float))
    return logs


def _held_out(texts: Sequence[str], arms: np.ndarray, fold_of: np.ndarray) -> np.ndarray:
    """Scores of texts by classifiers that have not seen their items; shape (items, 2)."""
    import numpy as np

    folds = np.repeat(fold_of, 2)
    scores = np.empty(len(texts))
    for fold in range(FOLDS):
        seen, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = _classifier().fit([texts[i] for i in seen], arms[seen])
        scores[held] = model.decision_function([texts[i] for i in held])
    return scores.reshape(-1, 2)


def _wins(scores: np.ndarray) -> np.ndarray:
    """Entry (i, j): 1 if item i's system answer scores above item j's contributor answer, ties .5.

    Shape (items, items).
    """
    import numpy as np

    difference = scores[:, 1][:, None] - scores[:, 0][None, :]
    wins: np.ndarray = (np.sign(difference) + 1) / 2
    return wins


def weighted_auc(wins: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return one area per row of ``weights`` (draws, items), over the comparisons in ``same``."""
    import numpy as np

    right = np.einsum("di,ij,dj->d", weights, wins * same, weights, optimize=True)
    compared = np.einsum("di,ij,dj->d", weights, same, weights, optimize=True)
    return np.asarray(right / compared)


def _features(texts: Sequence[str], arms: np.ndarray) -> Iterator[Feature]:
    """The strongest signs of each arm, by a classifier that has seen all texts."""
    import numpy as np

    model = _classifier().fit(list(texts), arms)
    grams = model[0].transformer_list[0][1]
    names = [*map(str, grams.get_feature_names_out()), *(f"length in {n}" for n in LENGTHS)]
    weights = model[-1].coef_[0]
    told: list[str] = []
    for index in np.argsort(-np.abs(weights), kind="stable"):
        name, weight = names[index], float(weights[index])
        # "Cert" says nothing new beside "Certa".
        if len(told) < TOP and not any(name in other or other in name for other in told):
            told.append(name)
            yield Feature(name, "system" if weight > 0 else "contributor", abs(weight))
