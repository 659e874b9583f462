"""Supervised fine-tuning of one LoRA specialist on short question and answer rows.

A thin wrapper over trl's SFTTrainer with settings that suit a small model on a CPU as well as on a
GPU. It knows rows and adapters; it does not know tasks, scores or pools.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.core.errors import EngineError
from protocols.core.torch_setup import ONE_LOAD_AT_A_TIME
from protocols.lib.prompts import question_messages
from protocols.training.checkpoints import (
    Watch,
    checkpoint_arguments,
    progress_callback,
    resume_training,
)
from protocols.training.trainers import (
    batch_arguments,
    common_arguments,
    device,
    fresh_lora,
    is_fine,
    is_thrifty,
    make_trainer,
    quiet_dataset,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ATTENTION_AND_MLP = (
    "down_proj",
    "gate_proj",
    "k_proj",
    "o_proj",
    "q_proj",
    "up_proj",
    "v_proj",
)
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
IGNORED = -100
SAVE_EVERY = 10
"""Steps from one checkpoint to the next."""


@dataclass(frozen=True, slots=True)
class SftConfig:
    """How a specialist is trained; the defaults made the embedded pool.

    ``steps`` batches of ``batch`` rows; ``learning_rate`` after ``warmup`` steps falls along a
    cosine to zero. ``max_length`` is in tokens, prompt and answer together; longer rows are left
    out, because a cut row would lose its answer first.
    """

    steps: int = 160
    batch: int = 8
    learning_rate: float = 4e-3
    warmup: int = 10
    rank: int = 2
    alpha: int = 8
    seed: int = 7
    max_length: int = 128
    target_modules: tuple[str, ...] = ATTENTION_AND_MLP


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run left: where, how long (seconds of training only), on what."""

    folder: Path
    seconds: float
    device: str
    loss: float


OnStep = Callable[[int, float], None]


def conversation(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    """Return one trl row; its prompt is the very messages asked at inference."""
    prompt = [
        {"role": turn["role"], "content": turn["content"]} for turn in question_messages(question)
    ]
    return {"prompt": prompt, "completion": [{"role": "assistant", "content": answer}]}


def train_sft(
    base: Path,
    rows: Sequence[tuple[str, str]],
    out: Path,
    *,
    base_id: str,
    config: SftConfig | None = None,
    on_step: OnStep | None = None,
    state: Path | None = None,
    watch: Watch | None = None,
    start: Path | None = None,
    frozen: str = "",
    template: str = "",
) -> Trained:
    """Train an adapter for the model in ``base`` on (question, answer) rows; save it in ``out``.

    ``on_step`` is called with (step, loss) every few steps and may raise to stop the training.
    ``base_id`` is written into the adapter instead of a path, so that it means the same anywhere.
    With ``state``, checkpoints are kept there and a killed training goes on from the last one;
    ``watch`` is told of every step. ``template`` is the chat template where it is not the base's.
    ``start`` is an adapter to go on from, with its own rank, instead of a fresh one. Adapter
    weights whose names contain ``frozen`` stay as they began.

    Raises:
        EngineError: there are no rows, or all are too long.
    """
    import torch

    if not rows:
        raise EngineError("There is nothing to train on: the list of rows is empty.")
    settings = config or SftConfig()
    torch.manual_seed(settings.seed)
    model, tokenizer = load_base(base, device())
    if template:
        tokenizer.chat_template = template
    fine = is_fine(settings)
    lora = resume_lora(model, start, fine) if start else fresh_lora(model, settings, fp32=False)
    if frozen:
        for name, weight in lora.named_parameters():
            weight.requires_grad_(weight.requires_grad and frozen not in name)
    trainer = _trainer(
        lora, tokenizer, rows, settings, out, on_step, state, watch, thrifty=is_thrifty()
    )
    return train_and_save(trainer, out, base_id, state)


def load_base(base: Path, where: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a base model in bf16 and its tokenizer, padded on the left as generation needs."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left", trust_remote_code=False)
    with ONE_LOAD_AT_A_TIME:
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.bfloat16, use_safetensors=True, trust_remote_code=False
        ).to(where)
    return model, tokenizer


def resume_lora(model: PreTrainedModel, adapter: Path, fp32: bool = False) -> Any:
    """Return ``model`` with a saved LoRA whose weights can be trained further, maybe in fp32."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter, is_trainable=True, autocast_adapter_dtype=fp32)


def _trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, str]],
    config: SftConfig,
    out: Path,
    on_step: OnStep | None,
    state: Path | None = None,
    watch: Watch | None = None,
    thrifty: bool = False,
) -> Any:
    mixed = list(rows)
    random.Random(config.seed).shuffle(mixed)
    saving = checkpoint_arguments(state, SAVE_EVERY) if state else {"output_dir": str(out)}
    trainer = make_trainer(
        _answer_trainer(),
        progress_callback(watch),
        *([report_to(on_step)] if on_step else []),
        model=model,
        args=_arguments(config, saving, thrifty),
        train_dataset=quiet_dataset([conversation(*row) for row in mixed]),
        processing_class=tokenizer,
    )
    trainer.train_dataset = short_rows(trainer.train_dataset, config.max_length)
    return trainer


def short_rows(dataset: Any, longest: int) -> Any:
    """The rows of at most ``longest`` tokens. Raises :class:`EngineError` if there are none."""
    kept = [at for at, ids in enumerate(dataset["input_ids"]) if len(ids) <= longest]
    if not kept:
        raise EngineError(
            f"There is nothing to train on: there are no rows of at most {longest} tokens."
        )
    return dataset if len(kept) == len(dataset) else dataset.select(kept)


def _answer_trainer() -> Any:
    """Return an SFTTrainer that does no work which rows with one short answer do not need.

    trl's own loss goes over every position in fp32 and keeps statistics of each; here the
    vocabulary's scores are made for answer positions only, and what all rows of a batch begin with
    (the system turn) is read once, unless activations are computed again. The loss is the same mean
    over the batch's answer tokens.
    """
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
        """SFTTrainer with the loss of the answer tokens alone."""

        loss_is_scaled_for_ga = True

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels, thrifty = inputs["labels"], self.args.gradient_checkpointing
            first = first_answer(labels)
            output = model(**_asked(model, inputs, first, share=not thrifty))
            guesses = output.logits[:, :-1].float().flatten(0, 1)
            told = labels[:, first:].flatten()
            if self.args.gradient_accumulation_steps == 1 or num_items_in_batch is None:
                return cross_entropy(guesses, told, ignore_index=IGNORED)
            losses = cross_entropy(guesses, told, ignore_index=IGNORED, reduction="sum")
            return losses / num_items_in_batch  # answer tokens of the whole batch, not of this part

    return AnswerTrainer


def first_answer(labels: Any) -> int:
    """The first column of ``labels`` [rows, length] in which any row has an answer token."""
    return int((labels != IGNORED).any(dim=0).nonzero()[0])


def shared_length(ids: Any, first: int) -> int:
    """How many tokens all rows of ``ids`` begin with, at most those two ahead of ``first``.

    A single row shares nothing with anybody.
    """
    same = (ids == ids[:1]).all(dim=0)[: max(0, first - 1)]
    return int(same.long().cumprod(dim=0).sum()) if len(ids) > 1 else 0


def _asked(model: Any, inputs: Any, first: int, share: bool = True) -> dict[str, Any]:
    """Return the model's arguments for the scores from the position before ``first`` on."""
    import torch

    ids = inputs["input_ids"]
    shared = shared_length(ids, first) if share else 0
    before = _read_once(model, ids[:1, :shared], len(ids)) if shared else None
    start = shared if before else 0
    # Positions as a list: of a slice, torch makes a batch of products and copies the vocabulary's
    # matrix for each row, which takes as long as all layers together.
    places = torch.arange(first - 1 - start, ids.shape[1] - start, device=ids.device)
    return {
        "input_ids": ids[:, start:],
        "attention_mask": inputs["attention_mask"],
        "past_key_values": before,
        "use_cache": before is not None,
        "logits_to_keep": places,
    }


def _read_once(model: Any, ids: Any, rows: int) -> Any:
    """Return what the model keeps of ``ids`` [1, length] for each of ``rows``, gradients included.

    Nothing for an architecture whose memory is more than the keys and values of each token.
    """
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    last = torch.tensor([-1], device=ids.device)
    kept = model(input_ids=ids, use_cache=True, logits_to_keep=last).past_key_values
    plain = isinstance(kept, DynamicCache) and all(type(one) is DynamicLayer for one in kept.layers)
    if not plain:
        return None
    kept.batch_repeat_interleave(rows)
    return kept


def _arguments(config: SftConfig, saving: dict[str, Any], thrifty: bool) -> Any:
    """Return trl's arguments; loss is on the answer only, and no row is cut."""
    from trl import SFTConfig

    return SFTConfig(
        **{**common_arguments(config), "save_strategy": "no", "logging_steps": 5, **saving},
        **batch_arguments(config.batch, thrifty),
        max_steps=config.steps,
        max_length=None,
        completion_only_loss=True,
    )


def report_to(on_step: OnStep) -> Any:
    """Return a trainer callback that passes each logged step and loss on to ``on_step``."""
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        """Pass each logged loss on."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                on_step(int(state.global_step), float(logs["loss"]))

    return Report()


def train_and_save(trainer: Any, out: Path, base_id: str, state: Path | None = None) -> Trained:
    """Train, or go on from what is in ``state``, and save the adapter in ``out``."""
    start = time.perf_counter()
    loss = resume_training(trainer, state) if state else float(trainer.train().training_loss)
    seconds = time.perf_counter() - start
    save_adapter(trainer.model, out, base_id)
    return Trained(out, seconds, device(), loss)


def save_adapter(model: Any, folder: Path, base_id: str) -> None:
    """Write the adapter as bf16 safetensors with its config, and nothing else, into ``folder``."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    # No embeddings are trained; left to itself, peft asks the hub about the base's vocabulary.
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {
        name: one.detach().cpu().to(torch.bfloat16).contiguous() for name, one in state.items()
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    settings = model.peft_config["default"].to_dict()
    settings |= {"base_model_name_or_path": base_id, "inference_mode": True}
    text = json.dumps(settings, indent=2, sort_keys=True, default=_plain)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return what JSON cannot write: sets as sorted lists, enumerations as their text."""
    return (
        sorted(value) if isinstance(value, set | frozenset) else str(getattr(value, "value", value))
    )


def fingerprint(rows: Sequence[tuple[str, str]], config: SftConfig) -> str:
    """Return a short hash of everything that decides a training's outcome but the base."""
    import hashlib

    text = json.dumps([asdict(config), list(rows)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
