"""What limits the starts of this worker: its share of the queue's RPM and TPM windows, and its own token count."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable

from ..options.job import RateLimit, TokenLimit

#: Waiters of one token window spread over this share of it, or they would all start at once.
_JITTER = 0.05


class WorkerLimits:
    """RPM and TPM settings of one worker, and the tokens it counted in the current window."""

    def __init__(
        self,
        limiter: RateLimit | None,
        token_limiter: TokenLimit | None,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limiter = limiter
        self._tokens = token_limiter
        #: Whether this worker counts tokens in a window of its own.
        self.own_tokens = token_limiter is not None and token_limiter.scope != "queue"
        self._chance = chance
        self._window = -1
        self._used = 0

    @property
    def shared_tokens(self) -> bool:
        """Whether tokens are counted in the queue's window."""
        return self._tokens is not None and self._tokens.scope != "worker"

    def header(self) -> list[int]:
        """Arguments of an exchange: limiter max and ms, token cap and window ms."""
        rate, tokens = self._limiter, self._tokens
        return [
            rate.max if rate else 0,
            rate.duration if rate else 0,
            math.ceil(tokens.max_tokens) if tokens else 0,
            tokens.duration if tokens else 0,
        ]

    def count(self, tokens: int, now_ms: int) -> None:
        """Add what a finished run reported to this worker's own window."""
        if self.own_tokens and tokens > 0:
            self._roll(now_ms)
            self._used += tokens

    def wait_ms(self, now_ms: int) -> int:
        """Milliseconds until this worker's own token window lets it start jobs again; 0 for at once."""
        tokens = self._tokens
        if tokens is None or not self.own_tokens:
            return 0
        self._roll(now_ms)
        if self._used < tokens.max_tokens:
            return 0
        return self.spread((self._window + 1) * tokens.duration - now_ms)

    def spread(self, wait_ms: int) -> int:
        """Lengthen a wait for a token window by a random part."""
        width = self._tokens.duration if self._tokens else wait_ms
        return wait_ms + int(self._chance() * _JITTER * width)

    def published(self, waiting: int, until_ms: int, now_ms: int) -> str:
        """JSON for consoles; "" when nothing limits this worker."""
        rate, tokens = self._limiter, self._tokens
        if rate is None and tokens is None:
            return ""
        self._roll(now_ms)
        local = {"window": self._window, "used": self._used} if self.own_tokens else None
        return json.dumps(
            {
                "v": 1,
                "rpm": {"max": rate.max, "duration": rate.duration} if rate else None,
                "tpm": (
                    {"maxTokens": tokens.max_tokens, "duration": tokens.duration, "scope": tokens.scope}
                    if tokens
                    else None
                ),
                "local": local,
                "waiting": waiting,
                "until": until_ms,
            },
            separators=(",", ":"),
        )

    def _roll(self, now_ms: int) -> None:
        if self._tokens is not None:
            window = now_ms // self._tokens.duration
            if window != self._window:
                self._window, self._used = window, 0
