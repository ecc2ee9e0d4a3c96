"""A model without a network: it repeats what it read, and asks for a refund where one is wanted."""

import asyncio
import re
from collections.abc import AsyncIterator

NAME = "parrot-1"


class OverloadedError(Exception):
    """The provider has too much to do: worth another attempt."""


async def reply(text: str, attempt: int) -> AsyncIterator[str]:
    """Give the words of an answer as a provider would; the first attempt at anything "flaky" breaks off."""
    for number, word in enumerate(f"You wrote: {text}".split()):
        if "flaky" in text and attempt == 0 and number == 2:
            raise OverloadedError("the model is overloaded")
        await asyncio.sleep(0.03)
        yield word + " "


def wanted_refund(text: str) -> int | None:
    """Give the euros that a text asks back, as a model's tool call would."""
    found = re.search(r"refund (\d+)", text, re.IGNORECASE)
    return int(found[1]) if found else None
