"""Multi-agent refine in the studio against the batch way of working.

The batch way, as the paper's reference library does it: in every round each model is loaded in a
fresh process, answers, and is freed, one after another; then one model summarises. The harness is
written here from that description. Both sides use the same models, question, rounds and token
limit. Aim: at least 20 times faster at 8 models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time

from protocols.core.events import CallStarted
from protocols.core.models import ModelSpec, RunSpec, Sampling
from protocols.core.run import run
from tests.bench.common import QUESTION, say, specialists, table, warm_engine

ROUNDS, TOKENS = 2, 48


def load_and_answer(model: ModelSpec, prompt: str, tokens: int) -> str:
    """One fresh process: import, load base and adapter, generate, end."""
    job = json.dumps(
        {"base": model.source, "adapter": model.adapter, "prompt": prompt, "tokens": tokens}
    )
    command = [sys.executable, "-m", "tests.bench.reference", "--worker", job]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return str(json.loads(done.stdout.splitlines()[-1])["text"])


def work(job: dict[str, str | int]) -> None:
    """The worker process: load, answer, print."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import protocols  # noqa: F401  hides the torch extras that cannot be imported on a CPU

    tokenizer = AutoTokenizer.from_pretrained(job["base"])
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype="bfloat16")
    model = PeftModel.from_pretrained(model, job["adapter"])
    chat = [{"role": "system", "content": "Answer."}, {"role": "user", "content": job["prompt"]}]
    inputs = tokenizer.apply_chat_template(
        chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**inputs, max_new_tokens=job["tokens"], do_sample=False)
    text = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    say(json.dumps({"text": text}))


def batch_refine(models: tuple[ModelSpec, ...]) -> tuple[int, float]:
    """All rounds and the summary, a process per call: (loads, seconds)."""
    start, loads = time.perf_counter(), 0
    answers = [""] * len(models)
    for round_ in range(ROUNDS):
        peers = "\n".join(f"- {a}" for a in answers)
        prompt = (
            QUESTION if not round_ else f"Others said:\n{peers}\nImprove your answer: {QUESTION}"
        )
        answers = [load_and_answer(model, prompt, TOKENS) for model in models]
        loads += len(models)
    summary = "\n".join(f"- {a}" for a in answers)
    load_and_answer(models[0], f"Summarise:\n{summary}\n{QUESTION}", TOKENS)
    return loads + 1, time.perf_counter() - start


async def studio_refine(models: tuple[ModelSpec, ...]) -> tuple[int, float]:
    """The same collaboration as a run on a warm engine, all rounds forced: (calls, seconds)."""
    spec = RunSpec(
        protocol="multiagent_refine",
        config={"rounds": ROUNDS, "stop_early": False},
        pool=tuple(m.id for m in models),
        question=QUESTION,
        sampling=Sampling(max_tokens=TOKENS),
    )
    async with warm_engine(models) as engine:
        [_ async for _ in run(spec, models, engine)]  # warm-up: compilation, caches
        start = time.perf_counter()
        events = [e async for e in run(spec.model_copy(update={"seed": 1}), models, engine)]
        return sum(isinstance(e, CallStarted) for e in events), time.perf_counter() - start


def measure(count: int) -> None:
    """Run both and print the ratio."""
    models = specialists(count)
    calls, live = asyncio.run(studio_refine(models))
    loads, batch = batch_refine(models)
    rows = [["studio (warm)", calls, f"{live:.1f}"], ["process per call", loads, f"{batch:.1f}"]]
    table(f"Multi-agent refine, {count} models, {ROUNDS} rounds", ["way", "calls", "seconds"], rows)
    say(f"  per call: {batch / loads / (live / calls):.1f} times, in all {batch / live:.1f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker")
    parser.add_argument("--models", type=int, default=8)
    given = parser.parse_args()
    if given.worker:
        work(json.loads(given.worker))
    else:
        measure(given.models)
