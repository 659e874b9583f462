"""Both arms' answers to a study's questions, made by the studio's own runner.

The contributor's model answers alone (protocol ``single_model``), the system by the study's
protocol. For one question both have the same seed and the same length limit, and everything else
follows from the plan: nothing is known to a run but its question. All answers are made before the
first rater comes, so that no speed shows.

Every finished answer is on disk before the next step; what a killed run has made is not made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from evals.concurrency import bounded
from evals.human.questions import Question
from evals.human.responses import Outcome, Response, last_by_key, response_file
from evals.human.study import Arm, ContributorArm, StudySpec
from evals.run_end import RunEnd
from protocols.core.artifacts import ArtifactStore
from protocols.core.call_executor import EMPTY_ANSWER
from protocols.core.engine import Engine
from protocols.core.errors import StudioError
from protocols.core.events import Answer, CallEnded, Event, Progress
from protocols.core.models import Budget, ModelSpec, RunSpec, Sampling, content_hash, pick
from protocols.core.registry import get_protocol
from protocols.core.run import prepare, run
from protocols.core.trace import TraceHeader, TraceWriter

UNIT = "answers"
PARALLEL = 4
"""Runs at a time; engines batch their calls."""
GIVE_UP = 5
"""Failures of the machine in a row after which generating stops."""
SECONDS = 3600.0
ALONE = "single_model"


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to be made. ``spare`` questions are not shown as main pairs."""

    stratum: str
    arm: Arm
    question: Question
    spec: RunSpec
    key: str
    spare: bool = False


def plan_jobs(
    study: StudySpec,
    pool: Sequence[ModelSpec],
    questions: Mapping[str, Sequence[Question]],
    artifacts: ArtifactStore | None = None,
) -> list[Job]:
    """Return what has to be run, a question's two arms next to each other.

    ``questions`` are by contributor's model id. A fitted protocol is held to the artifact that
    ``artifacts`` gives now, so that fitting it anew does not mix two systems in one study.
    Raises :class:`UserError` for a model that the pool lacks and for a protocol that is unknown,
    wrongly set, not fitted, or short of models.
    """
    pick(pool, [arm.model for arm in study.contributors])
    models = study.system.models or tuple(model.id for model in pool)
    together = RunSpec(
        protocol=study.system.protocol,
        config=dict(study.system.config),
        pool=models,
        question=study.title,
        budget=_budget(study, study.system.protocol, study.system.config, len(models)),
        sampling=Sampling(max_tokens=study.max_tokens),
    )
    found = prepare(together, pool, artifacts=artifacts).artifact
    together = together.model_copy(update={"artifact": found.manifest.key if found else ""})
    return [
        job
        for contributor in study.contributors
        for number, question in enumerate(questions.get(contributor.model, ()))
        for job in _both(study, pool, together, question, contributor, number)
    ]


def _both(
    study: StudySpec,
    pool: Sequence[ModelSpec],
    together: RunSpec,
    question: Question,
    contributor: ContributorArm,
    number: int,
) -> Iterator[Job]:
    stratum = contributor.model
    alone = RunSpec(
        protocol=ALONE,
        pool=(stratum,),
        question=question.prompt,
        seed=item_seed(study.seed, stratum, question.prompt),
        sampling=together.sampling,
        budget=_budget(study, ALONE, {}, 1),
    )
    asked = together.model_copy(update={"question": alone.question, "seed": alone.seed})
    arms: tuple[tuple[Arm, RunSpec], ...] = (("contributor", alone), ("system", asked))
    for arm, spec in arms:
        spare = number >= contributor.limit
        yield Job(stratum, arm, question, spec, run_key(spec, pool), spare)


def _budget(study: StudySpec, protocol: str, config: Mapping[str, object], models: int) -> Budget:
    """A budget that the protocol cannot reach: a study never shows half an answer."""
    chosen = get_protocol(protocol)
    bound = chosen.estimate(chosen.configure(dict(config)), models, study.max_tokens)
    least = Budget()
    return Budget(
        calls=max(least.calls, bound.calls + bound.scores),
        tokens=max(least.tokens, bound.tokens),
        seconds=SECONDS,
    )


def item_seed(seed: int, stratum: str, prompt: str) -> int:
    """Return the seed of one question, the same for both arms."""
    digest = hashlib.sha256(f"{seed}/{stratum}/{prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def run_key(spec: RunSpec, pool: Sequence[ModelSpec]) -> str:
    """Return what names an answer: the run's content and the weights that it asks for."""
    models = [
        [m.id, m.source, m.revision, m.adapter, m.served_name, m.chat_template]
        for m in pick(pool, spec.pool)
    ]
    return content_hash(spec.model_dump(mode="json"), models)


@dataclass(frozen=True, slots=True)
class Runner:
    """With what answers are made. With ``traces``, every run is kept there, named by its id."""

    pool: Sequence[ModelSpec]
    engine: Engine
    artifacts: ArtifactStore | None = None
    traces: Path | None = None
    parallel: int = PARALLEL
    stall_s: float = 180.0


async def generate(
    jobs: Sequence[Job], runner: Runner, folder: Path
) -> AsyncGenerator[Progress | Response, None]:
    """Make the answers that ``folder`` does not have yet; yields each once it is on disk.

    Answers that failed for a reason of the machine are tried again, those of a model are not. After
    five failures of the machine in a row it stops with a warning. Closing the iterator stops what
    is running.
    Raises :class:`UserError` if another process is filling the folder.
    """
    with response_file(folder) as file:
        done = {r.key for r in last_by_key(file.read()).values() if not r.again}
        work = [job for job in jobs if job.key not in done]
        made, failed = len(jobs) - len(work), 0
        yield _progress(made, len(jobs), "")
        stream = bounded(work, lambda job: _play(job, runner), runner.parallel)
        async with aclosing(stream):
            async for response in stream:
                file.append([response])
                made, failed = made + 1, failed + 1 if response.again else 0
                yield response
                yield _progress(made, len(jobs), response.error)
                if failed >= GIVE_UP:
                    note = f"Stopped after {failed} failures in a row: {response.error}"
                    yield Progress(unit=UNIT, note=note, level="warning")
                    return


def answers_for(jobs: Sequence[Job], folder: Path) -> list[Response]:
    """Return the answers that are there for ``jobs``, in their order."""
    found = last_by_key(response_file(folder).read())
    return [found[job.key] for job in jobs if job.key in found]


def _progress(done: int, total: int, error: str) -> Progress:
    level = "warning" if error else "info"
    return Progress(unit=UNIT, done=done, total=total, note=error, level=level)


async def _play(job: Job, runner: Runner) -> Response:
    reading, spec = Reading(job), job.spec
    writer: TraceWriter | None = None
    try:
        if runner.traces:
            header = TraceHeader(run=spec.digest, spec=spec, engine=runner.engine.name)
            writer = TraceWriter(runner.traces / f"{spec.digest}.jsonl", header)
        playing = run(
            spec, runner.pool, runner.engine, stall_s=runner.stall_s, artifacts=runner.artifacts
        )
        async with aclosing(playing) as events:
            async for event in events:
                reading.take(event)
                if writer:
                    writer.write([event])
    except StudioError as error:
        return reading.failed(error.message, error.owner)
    finally:
        if writer:
            writer.close()
    return reading.response()


class Reading(RunEnd):
    """What one run comes to: its answer, how it ended and who is to blame if it did not."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        self.ended: dict[str, CallEnded] = {}

    def take(self, event: Event) -> None:
        """Read the next event of the run."""
        super().take(event)
        if isinstance(event, CallEnded):
            self.ended[event.call] = event

    def response(self) -> Response:
        """The run as an answer of its arm."""
        answer = self.whole
        if answer is None:
            message = self.end.message if self.end else "The run did not end."
            return self.failed(message, self.owner("user"))
        finish, cut = self._finish(answer)
        outcome: Outcome = "ok" if answer.text.strip() else "empty"
        return self._made(outcome, text=answer.text, finish=finish, cut=cut)

    def failed(self, message: str, owner: str) -> Response:
        """The run as an answer that is not there."""
        empty = self.failures and all(EMPTY_ANSWER in f.message for f in self.failures)
        outcome: Outcome = "empty" if empty else "failed"
        return self._made(outcome, error=message or "The run failed.", owner=owner)

    def _finish(self, answer: Answer) -> tuple[str, bool]:
        """How the answer ended, and whether the length limit cut it.

        A text written in turns ends in calls that are short on purpose; it is cut when its parts
        together have used up the limit.
        """
        sources = [self.ended[call] for call in answer.sources if call in self.ended]
        whole = [call for call in sources if call.text.strip() == answer.text.strip()]
        if whole:
            return whole[0].finish, whole[0].finish == "length"
        last = sources[-1].finish if sources else ""
        spent = sum(call.usage.completion_tokens for call in sources)
        return last, last == "length" and spent >= self.job.spec.sampling.max_tokens

    def _made(
        self,
        outcome: Outcome,
        *,
        text: str = "",
        finish: str = "",
        cut: bool = False,
        error: str = "",
        owner: str = "",
    ) -> Response:
        job = self.job
        return Response(
            key=job.key,
            stratum=job.stratum,
            arm=job.arm,
            question=job.question.id,
            prompt=job.question.prompt,
            text=text,
            outcome=outcome,
            finish=finish,
            cut=cut,
            run=job.spec.digest,
            error=error,
            owner=owner,
            language=job.question.language,
            category=job.question.category,
            spare=job.spare,
        )
