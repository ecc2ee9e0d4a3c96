"""What the API and the worker say to each other."""

from typing import TypedDict

#: Where questions wait for an answer.
QUEUE = "chat"


class Ask(TypedDict):
    """What somebody asked."""

    text: str


class Answer(TypedDict):
    """What became of it."""

    text: str
    refunded: bool
