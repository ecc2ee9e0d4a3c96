"""Simulated language models: they stream at a readable pace, report cost, fail now and then, and use no network."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glidemq_core import Job, UnrecoverableError

from .pace import World

_PIECES = re.compile(r"\s*[\w'’-]{1,7}|\s*[^\w\s]|\s+")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: delay to its first token, pace, price per million tokens, share of calls that fail."""

    name: str
    provider: str
    first_token_s: float
    tokens_per_s: float
    usd_in: float
    usd_out: float
    fails: float = 0.05


MODELS = {
    model.name: model
    for model in (
        Model("gpt-5.4", "openai", 0.55, 55, 2.50, 10.00, 0.14),
        Model("gpt-5.4-nano", "openai", 0.25, 95, 0.15, 0.60, 0.10),
        Model("gemini-2.5-pro", "google", 0.70, 48, 1.25, 10.00, 0.08),
        Model("gemini-2.5-flash", "google", 0.30, 90, 0.30, 2.50, 0.04),
        Model("mistral-large", "mistral", 0.45, 42, 2.00, 6.00, 0.06),
    )
}
EMBEDDER = Model("text-embedding-3-small", "openai", 0.12, 4_000, 0.02, 0.0, 0.04)

_TROUBLE = (
    "429 slow down: rate limit reached for requests per minute",
    "429 slow down: rate limit reached for tokens per minute",
    "503 overloaded: the model is at capacity, try again",
    "502 bad gateway",
)


class ProviderError(Exception):
    """What a provider answers when it does not answer."""


class ContentFilterError(UnrecoverableError):
    """The provider refuses this text; another try would be refused too."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, and what it was asked to run."""

    text: str
    model: str
    tokens: int


def model_of(job: Job[Any, Any], default: str = "gpt-5.4") -> Model:
    """Return the model of this attempt: the one that the fallback chain says, else the one that was asked for."""
    fallback = job.current_fallback
    data = job.data if isinstance(job.data, dict) else {}
    name = fallback.model if fallback is not None else data.get("model", default)
    return MODELS.get(str(name), MODELS[default])


def pieces(text: str, rng: random.Random) -> Iterator[str]:
    """Cut a text as a model would: mostly a word or a part of it, now and then two or three at once."""
    held = ""
    for piece in _PIECES.findall(text):
        held += piece
        if rng.random() < 0.82:
            yield held
            held = ""
    if held:
        yield held


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text: about four bytes each."""
    return max(1, len(text.encode()) // 4)


class Call:
    """One call of a model on behalf of a job: streams what it says and reports what that cost."""

    def __init__(
        self, world: World, job: Job[Any, Any], model: Model, *, prompt: str, rng: random.Random
    ) -> None:
        self._world = world
        self._job = job
        self._model = model
        self._rng = rng
        self._tokens = {"input": count_tokens(prompt), "output": 0, "reasoning": 0}
        self._begun = time.monotonic()

    async def begin(self, *, may_fail: bool = True) -> None:
        """Wait for the first token; some calls end here, at no cost. Raises ProviderError."""
        await self._world.wait(self._model.first_token_s * self._rng.uniform(0.6, 1.8))
        if may_fail and self._rng.random() < self._model.fails:
            trouble = self._rng.choice(_TROUBLE)
            await self._job.log(f"{self._model.name}: {trouble}")
            await self._job.report_usage(
                model=self._model.name, provider=self._model.provider, latency=self._latency_ms()
            )
            raise ProviderError(trouble)

    async def print_line(self, text: str, kind: str = "content") -> None:
        """Stream a text piece by piece at the model's pace; `kind` is `content` or `reasoning`."""
        counted = "reasoning" if kind == "reasoning" else "output"
        for piece in pieces(text, self._rng):
            await self._job.stream_chunk(kind, piece)
            self._tokens[counted] += 1
            self._world.tally.tokens += 1
            # Bursts and stumbles, as real streams have them.
            stumble = self._rng.uniform(0.2, 0.7) if self._rng.random() < 0.012 else 0.0
            await self._world.wait(self._rng.expovariate(self._model.tokens_per_s) + stumble)

    async def ask_for(self, tool: str, arguments: str) -> None:
        """Stream a tool call: `tool` with its arguments as JSON text."""
        await self._job.stream({"type": "tool_call", "name": tool, "content": f"{tool}({arguments})"})
        self._tokens["output"] += count_tokens(arguments)

    async def cut(self, message: str) -> None:
        """End the stream in the middle: what was used is reported, then ProviderError is raised."""
        await self._job.stream_chunk("error", message)
        await self.report()
        raise ProviderError(message)

    def _latency_ms(self) -> int:
        return round((time.monotonic() - self._begun) * 1_000)

    async def report(self, *, done: bool = False) -> None:
        """Report usage and cost of this call; `done` also ends the stream."""
        model, tokens = self._model, self._tokens
        spoken = tokens["output"] + tokens["reasoning"]
        await self._job.report_usage(
            model=model.name,
            provider=model.provider,
            tokens={name: amount for name, amount in tokens.items() if amount},
            costs={
                "input": round(tokens["input"] * model.usd_in / 1e6, 8),
                "output": round(spoken * model.usd_out / 1e6, 8),
            },
            cost_unit="usd",
            latency=self._latency_ms(),
        )
        if done:
            await self._job.stream({"type": "done", "done": "1"})


async def answer(
    world: World,
    job: Job[Any, Any],
    *,
    prompt: str,
    text: str,
    thoughts: str = "",
    tools: Sequence[tuple[str, str, str]] = (),
    default: str = "gpt-5.4",
    may_fail: bool = True,
    done: bool = True,
) -> Reply:
    """Let the model of this attempt answer: it may think, call tools (name, arguments, result), then speak.

    Raises:
        ProviderError: it failed, before its first token or in the middle.
    """
    rng, model = world.rng_of(job), model_of(job, default)
    call = Call(world, job, model, prompt=prompt, rng=rng)
    await call.begin(may_fail=may_fail)
    if thoughts:
        await call.print_line(thoughts, "reasoning")
    for tool, arguments, result in tools:
        await call.ask_for(tool, arguments)
        await world.wait(rng.uniform(0.2, 0.9))
        await job.log(f"{tool} -> {result}")
    if may_fail and rng.random() < model.fails / 4:
        await call.print_line(text[: len(text) // 3])
        await call.cut("503 overloaded: the stream was cut")
    await call.print_line(text)
    await call.report(done=done)
    return Reply(text, model.name, count_tokens(text))
