"""The messages of this session, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from ...actions.keys import MESSAGES
from ...actions.protocols import Console
from ...model.messages import MOST, Said
from ...text import format as fmt
from ...widgets.overlay import Overlay
from ...widgets.styled import Parts, Styled, dim, hotkey

#: Cells of the time before a message.
_TIME = 10


def message_lines(said: Sequence[Said], console: Console) -> list[Parts]:
    """The overlay's lines."""
    lines: list[Parts] = [[hotkey("messages"), dim(f"   of this session, the latest {MOST}")], []]
    if not said:
        return [*lines, [dim("Nothing was said yet.")]]
    for one in said:
        times = [dim(f"  × {one.times:,}")] if one.times > 1 else []
        at = fmt.clock(one.at_ms, console.config.zone)
        lines.append([dim(f"{at:<{_TIME}}"), Styled(one.text, one.token), *times])
    return lines


class MessagesScreen(Overlay):
    """The messages over the screen they were asked on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(MESSAGES.keys), "close", "close", show=False),
    ]

    def __init__(self, console: Console) -> None:
        super().__init__(message_lines(console.messages.newest_first(), console), hang=_TIME)
