"""Texts as vectors, for routers: by a sentence encoder, by a pool model's own layers, or by words.

Encoders run on the processor and block: call them in a worker thread. Nothing is downloaded and no
code from a model's folder is run; an artifact names its encoder, so a question is encoded as the
questions were that its router learnt from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.core.errors import EngineError, UserError
from protocols.core.models import Frozen, ModelSpec
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME
from protocols.lib.choice import generalist
from protocols.lib.local_files import local_folder

Vectors = NDArray[np.float32]
"""One row per text."""
Encode = Callable[[Sequence[str]], Vectors]
Kind = Literal["sentence", "hidden", "words"]
SENTENCE = "sentence-transformers/all-MiniLM-L6-v2"
"""The sentence encoder that is used where it is in the hub's cache, as in the paper."""
DEPTH = 0.2
"""How far up a language model's layers its hidden states are taken. Of the embedded base's, each
fifth found neighbours of the same task for 96 % of 320 train questions; the first is the cheapest.
"""
LARGEST = 2 * 2**30
"""Bytes of weights above which a language model is not loaded a second time just to encode."""
WORD_FEATURES = 1024
MAX_TOKENS = 512
BATCH = 16


class EncoderSpec(Frozen):
    """Which encoder: ``name`` is a hub id, a folder (sentence) or a model of the pool (hidden)."""

    kind: Kind
    name: str = ""

    @property
    def title(self) -> str:
        """What it is called on a page."""
        told = {
            "sentence": f"sentence encoder {Path(self.name).name}",
            "hidden": f"hidden states of {self.name}",
            "words": "parts of words",
        }
        return told[self.kind]


def choose(setting: str, models: Sequence[ModelSpec]) -> EncoderSpec:
    """The encoder that a setting names: ``auto``, ``hidden``, ``words``, a hub id or a folder.

    ``auto`` is the sentence encoder if it is in the hub's cache, else hidden states of the first
    generalist if its weights are here and small, else words. Raises :class:`UserError` for an
    encoder that is not on this machine.
    """
    if setting == "words":
        return EncoderSpec(kind="words")
    base = next(model for model in models if model.id == generalist(models))
    hidden = EncoderSpec(kind="hidden", name=base.id)
    if setting == "hidden":
        _base_folder(base)
        return hidden
    if setting != "auto":
        _sentence_folder(setting)
        return EncoderSpec(kind="sentence", name=setting)
    for option, find in ((EncoderSpec(kind="sentence", name=SENTENCE), _cached), (hidden, _small)):
        if find(base):
            return option
    return EncoderSpec(kind="words")


def _cached(_base: ModelSpec) -> bool:
    try:
        _sentence_folder(SENTENCE)
    except UserError:
        return False
    return True


def _small(base: ModelSpec) -> bool:
    try:
        folder = _base_folder(base)
    except UserError:
        return False
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= LARGEST


def _base_folder(base: ModelSpec) -> Path:
    try:
        return local_folder(base)
    except UserError:
        raise UserError(
            f"The weights of '{base.id}' are not on this machine, so its hidden states cannot be "
            "used. Set 'Encoder' (encoder) to 'words', or name a sentence encoder."
        ) from None


def _sentence_folder(name: str) -> Path:
    try:
        return local_folder(ModelSpec(id="encoder", source=name))
    except UserError:
        raise UserError(
            f"The sentence encoder '{name[:80]}' is not on this machine. Download it first, or set "
            "'Encoder' (encoder) to 'hidden' or 'words'."
        ) from None


def encoder(spec: EncoderSpec, models: Sequence[ModelSpec]) -> Encode:
    """Load an encoder, or find it loaded; takes seconds the first time.

    Raises :class:`EngineError` if it cannot be loaded.
    """
    try:
        if spec.kind == "words":
            return _words()
        if spec.kind == "sentence":
            return _sentences(str(_sentence_folder(spec.name)))
        base = next((model for model in models if model.id == spec.name), None)
        if base is None:
            raise EngineError(f"The router reads by '{spec.name}', which is not in the pool.")
        return _hidden(str(_base_folder(base)))
    except UserError as error:
        raise EngineError(error.message) from None
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, TypeError) as error:
        raise EngineError(
            f"The encoder ({spec.title}) cannot be loaded ({type(error).__name__}). Fit with "
            "another one."
        ) from error


@lru_cache(maxsize=1)
def _words() -> Encode:
    """Hashed parts of words, two to four letters long, and their counts made a unit vector."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=WORD_FEATURES, norm="l2"
    )

    def encode(texts: Sequence[str]) -> Vectors:
        made: Vectors = hashing.transform(list(texts)).toarray().astype(np.float32)
        return made

    return encode


@lru_cache(maxsize=1)
def _sentences(folder: str) -> Encode:
    from sentence_transformers import SentenceTransformer

    with ONE_LOAD_AT_A_TIME:
        model = SentenceTransformer(
            folder,
            device="cpu",
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    turn = threading.Lock()

    def encode(texts: Sequence[str]) -> Vectors:
        with turn:
            found = model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)
        return np.asarray(found, dtype=np.float32)

    return encode


@lru_cache(maxsize=1)
def _hidden(folder: str) -> Encode:
    """The mean over a text's tokens of a lower layer's states, in fp32."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    with ONE_LOAD_AT_A_TIME:
        network = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).eval()
    network.layers = network.layers[: max(1, round(DEPTH * len(network.layers)))]
    turn = threading.Lock()

    def encode(texts: Sequence[str]) -> Vectors:
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        found = np.zeros((len(texts), network.config.hidden_size), dtype=np.float32)
        with turn, torch.inference_mode():
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                found[places] = _means(network, tokenizer, [texts[at] for at in places])
        return found

    return encode


def _means(network: Any, tokenizer: Any, texts: Sequence[str]) -> Vectors:
    import torch

    rows = [tokenizer(text or " ", add_special_tokens=False)["input_ids"] for text in texts]
    rows = [row[:MAX_TOKENS] for row in rows]
    width = max(map(len, rows))
    # Padded on the right: with causal attention no token ever sees what is behind it.
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows])
    states = network(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    made: Vectors = means.numpy()
    return made
