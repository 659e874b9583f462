"""A LoRA that decides by scored labels, trained on prompts that begin alike in one pass.

Prompts of one kind share their instructions, and several texts judged about one question share the
question too. Here a batch is a tree: what rows begin with is computed once and each goes on from it
as a branch of its own. A token sees the tokens on its way from the root, at the positions they have
alone, so the loss is that of ``labels``, row by row, for a third of the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.core.errors import EngineError
from protocols.training.checkpoints import Watch, checkpoint_arguments, progress_callback
from protocols.training.labels import LabelRow, encoded
from protocols.training.sft import Trained, train_and_save
from protocols.training.students import Student, load_student
from protocols.training.trainers import (
    batch_arguments,
    common_arguments,
    device,
    fresh_lora,
    make_trainer,
)

if TYPE_CHECKING:
    import torch

ATTENTION = ("k_proj", "o_proj", "q_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class SharedPrefixSettings:
    """How branches are trained; the defaults suit a small base on a CPU.

    ``epochs`` times all groups, ``batch`` groups a step; ``learning_rate`` after ``warmup`` steps
    falls along a cosine to zero. The LoRA is on the attention of layers from ``first_layer`` on:
    nothing is propagated back beneath them.
    """

    epochs: int = 1
    batch: int = 4
    learning_rate: float = 4e-4
    warmup: int = 15
    rank: int = 8
    alpha: int = 16
    seed: int = 7
    first_layer: int = 0
    save_every: int = 20
    target_modules: tuple[str, ...] = ATTENTION

    def count(self, groups: int) -> int:
        """How many steps are trained on so many groups."""
        return self.epochs * -(-groups // self.batch)


@dataclass
class Tree:
    """Rows of token ids as a tree.

    By node: its token, its depth and the node before it (-1 = none); by row: its last node.
    """

    tokens: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, row: Sequence[int]) -> None:
        """Grow the branch of one row out of what the rows before it have in common with it."""
        node = -1
        for depth, token in enumerate(row):
            place = node, token
            if place not in self._known:
                self._known[place] = len(self.tokens)
                self.tokens.append(token)
                self.depths.append(depth)
                self.before.append(node)
            node = self._known[place]
        self.ends.append(node)

    def seen(self) -> torch.Tensor:
        """Return [nodes, nodes]: True where the row's node sees the column's, itself included."""
        import torch

        found = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, before in enumerate(self.before):
            if before >= 0:
                found[node] |= found[before]
        return found


def collated(groups: Sequence[Sequence[dict[str, list[Any]]]]) -> dict[str, torch.Tensor]:
    """Return encoded rows (see ``labels.encoded``) as one tree of T tokens, R rows, K labels each.

    ``input_ids`` and ``position_ids`` [1, T], ``attention_mask`` [1, 1, T, T] (True = seen),
    ``ends`` [R], ``label_ids`` and ``target`` [R, K].
    """
    import torch

    rows, tree = [row for group in groups for row in group], Tree()
    for row in rows:
        tree.add(row["input_ids"])
    return {
        "input_ids": torch.tensor([tree.tokens]),
        "position_ids": torch.tensor([tree.depths]),
        "attention_mask": tree.seen()[None, None],
        "ends": torch.tensor(tree.ends),
        "label_ids": torch.tensor([row["label_ids"] for row in rows]),
        "target": torch.tensor([row["target"] for row in rows]),
    }


def branch_loss(model: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Mean over the rows of -sum target x log p(label), p normalised over the row's labels."""
    import torch

    prompt = {key: inputs[key] for key in ("input_ids", "attention_mask", "position_ids")}
    logits = model(**prompt, use_cache=False, logits_to_keep=inputs["ends"]).logits[0].float()
    logp = torch.log_softmax(logits.gather(1, inputs["label_ids"]), dim=1)
    return -(inputs["target"] * logp).sum(dim=1).mean()


def train_shared_prefix(
    who: Student,
    groups: Sequence[Sequence[LabelRow]],
    out: Path,
    *,
    state: Path,
    config: SharedPrefixSettings | None = None,
    watch: Watch | None = None,
) -> Trained:
    """Train ``who`` on groups of rows and save the adapter in ``out``; go on from ``state``.

    All rows have the same number of labels.

    Raises:
        EngineError: there are no groups.
    """
    if not groups:
        raise EngineError("There is nothing to train on: the list of groups is empty.")
    settings = config or SharedPrefixSettings()
    return train_and_save(_trainer(who, groups, state, settings, watch), out, who.base_id, state)


def _trainer(
    who: Student,
    groups: Sequence[Sequence[LabelRow]],
    state: Path,
    settings: SharedPrefixSettings,
    watch: Watch | None,
) -> Any:
    from transformers import Trainer

    class SharedPrefixTrainer(Trainer):  # type: ignore[misc]
        """Scores labels at the end of every branch, and nothing else of the vocabulary."""

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            return branch_loss(model, inputs)

    model, tokenizer = load_student(who, device())
    return make_trainer(
        SharedPrefixTrainer,
        progress_callback(watch),
        model=attach(model.float(), settings),
        args=_arguments(settings, state, len(groups)),
        train_dataset=[[encoded(who, tokenizer, row) for row in rows] for rows in groups],
        data_collator=collated,
    )


def attach(model: Any, settings: SharedPrefixSettings) -> Any:
    """Return the model with a fresh LoRA on the layers from ``first_layer`` on.

    In fp32, which is as fast as bf16 here and does not round small steps away.
    """
    import torch

    torch.manual_seed(settings.seed)
    trained = list(range(settings.first_layer, model.config.num_hidden_layers))
    return fresh_lora(model, settings, fp32=True, layers_to_transform=trained)


def _arguments(settings: SharedPrefixSettings, state: Path, groups: int) -> Any:
    """transformers' arguments."""
    from transformers import TrainingArguments

    return TrainingArguments(
        **checkpoint_arguments(state, settings.save_every),
        max_steps=settings.count(groups),
        **batch_arguments(settings.batch, thrifty=False),
        remove_unused_columns=False,
        **common_arguments(settings),
    )
