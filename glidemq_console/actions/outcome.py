"""What an act says when it is over."""

from __future__ import annotations


class Unchanged(str):
    """Words of an act that changed nothing: told without the colour of success."""

    __slots__ = ()
