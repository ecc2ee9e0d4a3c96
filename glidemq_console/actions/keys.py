"""The table of keys: every key means one thing, on every screen where it means anything.

Actions name a meaning and get its keys; the key reference in the docs is made of this table. Lower case looks or
changes what can be taken back, capitals change for good and ask first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Scopes of the actions by the letter that `Meaning.where` has for them, in the order of the key reference.
SCREEN_LETTERS: Final = {
    "Q": "queues",
    "J": "jobs",
    "P": "job",
    "S": "streams",
    "A": "approvals",
    "F": "flows",
    "G": "flow",
    "L": "limits",
    "W": "workers",
    "X": "failures",
    "D": "deadletters",
    "H": "schedules",
    "E": "events",
    "$": "cost",
}
ALL: Final = "".join(SCREEN_LETTERS)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What some keys mean."""

    #: Textual key names; the first one is shown where there is room for one.
    keys: tuple[str, ...]
    #: What the keys do, in words that hold on every screen.
    words: str
    #: Letters of the screens on which they may mean this.
    where: str = ALL


def _means(keys: str, words: str, where: str = ALL) -> Meaning:
    return Meaning(tuple(keys.split()), words, where)


TROUBLE: Final = _means("exclamation_mark", "go to the next word of trouble")
COMMAND: Final = _means("colon", "type a command")
FILTER: Final = _means("slash", "filter, or find in a text")
HELP: Final = _means("question_mark f1", "help")
PALETTE: Final = _means("ctrl+p", "find anything that can be done")
THEME: Final = _means("ctrl+t", "next theme")
REFRESH: Final = _means("ctrl+r f5", "read again")
REDRAW: Final = _means("ctrl+l", "redraw the terminal")
CLOSE: Final = _means("escape", "close the innermost: line, dialog, zoom, marks, filter; then go back")
BACK: Final = _means("minus", "go back where one came from")
QUIT: Final = _means("q ctrl+q", "quit")
MESSAGES: Final = _means("m", "messages")
UNDO: Final = _means("z", "undo the last act as a whole")
PREVIOUS: Final = _means("left h", "tab, pane or window before; fold in trees", "JSX$PG")
NEXT: Final = _means("right l", "next tab, pane or window; unfold in trees", "JSX$PG")
NEXT_PART: Final = _means("tab", "next part: state, pane, half")
PREVIOUS_PART: Final = _means("shift+tab", "part before")
PREVIOUS_SIBLING: Final = _means(
    "left_square_bracket", "its sibling before: queue, job, card, flow", "JPAGXD"
)
NEXT_SIBLING: Final = _means("right_square_bracket", "its next sibling: queue, job, card, flow", "JPAGXD")
OPEN: Final = _means("enter", "open; the whole of a payload; never sends a decision")
MARK: Final = _means("space", "mark", "QJAFLWXDH")
MARK_RANGE: Final = _means("ctrl+@", "mark all from the last mark to here", "QJAFLWXDH")
MARK_ALL: Final = _means("asterisk", "mark all that match the filter", "QJAFLWXDH")
SORT: Final = _means("s", "sort by the next column", "QJAFLWXDH$")
REVERSE: Final = _means("S", "sort in the other direction", "QJAFLWXDH$")
HOLD: Final = _means("full_stop", "hold still, or go on", "QJSAFLWXDHE$")
DETAIL: Final = _means("d", "detail", "QJAFLWXDHE$")
WHY: Final = _means("w", "why it waits", "QJPSAGLWXDHE")
JOB_PAGE: Final = _means("o", "open its job's page", "JSAGWXDHE$")
TOKENS: Final = _means("t", "follow its tokens", "JPAGWXDE")
FLOW: Final = _means("f", "open its flow", "JPSAWXDE$")
AUDIT: Final = _means("u", "its audit", "QJPAXDH")
COPY: Final = _means("y", "copy")
COPY_OTHER: Final = _means("Y", "copy the other form: a path, JSON")
SAVE: Final = _means("ctrl+s", "save to a file")
FIND_NEXT: Final = _means("n", "next match", "PSAGE")
FIND_PREVIOUS: Final = _means("N", "match before", "PSAGE")
REVEAL: Final = _means("v", "reveal secrets, or mask them", "PAXDH")
BARE: Final = _means("b", "bare payload, as it is stored", "PAXDH")
EDIT: Final = _means("e", "edit: delay and priority, payload, caps, schedule", "QJPAGLDH")
PAUSE: Final = _means("p", "pause or resume a queue", "Q")
APPROVE: Final = _means("a", "approve; again: send it now", "A")
REJECT: Final = _means("r", "reject; again: send it now", "A")
COMMENT: Final = _means("c", "comment", "A")
SLOWER: Final = _means("less_than_sign", "start the replay, or make it slower", "S")
FASTER: Final = _means("greater_than_sign", "replay faster; past the fastest, live", "S")
WALL: Final = _means("number_sign", "a wall of 1, 2, 4 or 9", "S")
AUTO: Final = _means("equals_sign", "panes choose themselves", "S")
CLOSE_PANE: Final = _means("x", "close the pane", "S")
RUN: Final = _means("R", "run: retry, replay a letter, run a schedule now", "QJPGXDH")
PROMOTE: Final = _means("P", "promote", "JPG")
REMOVE: Final = _means("X delete", "remove", "JPGDH")
TOP_UP: Final = _means("T", "top up a budget", "FG")
RELEASE: Final = _means("L", "release a parent", "G")
DRAIN: Final = _means("D", "drain a queue", "Q")
CLEAN_COMPLETED: Final = _means("C", "clean completed jobs", "Q")
CLEAN_FAILED: Final = _means("F", "clean failed jobs", "Q")

#: Every meaning that is not a tab, in the order of the key reference.
TABLE: Final = tuple(value for value in globals().values() if isinstance(value, Meaning))
#: Keys that move, in lists, texts and trees.
MOVES: Final = (
    ("↑ ↓ j k", "move"),
    ("g G home end", "first and last"),
    ("pgup pgdn ^b ^f", "a page"),
    ("^u ^d", "half a page"),
    ("mouse", "click rows, titles, tabs, words of trouble and keys; a double click opens"),
)
#: Keys of dialogs, which have a scope of their own; in a field every letter is typed.
DIALOG_KEYS: Final = (
    ("y", "yes"),
    ("n esc", "no: keep what is"),
    ("tab ↑ ↓ ← →", "move between answers and fields"),
    ("enter", "the answer with the focus, at first the safe one; in a field, go on"),
    ("^s", "go on with what was filled in"),
    ("f4", "edit the text in $EDITOR"),
)


def go_to(key: str, name: str) -> Meaning:
    """Make the meaning of a tab's key."""
    return _means(key, f"go to {name}")


_KEY_TEXT: Final = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "escape": "esc",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "number_sign": "#",
    "equals_sign": "=",
    "full_stop": ".",
    "exclamation_mark": "!",
    "dollar_sign": "$",
    "asterisk": "*",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "pageup": "pgup",
    "pagedown": "pgdn",
}
#: What a terminal sends for a key under another name.
_WHOLE_KEY_TEXT: Final = {"ctrl+@": "^space"}


def key_text(key: str) -> str:
    """Write a key as people do: `^p`, `shift+tab`, `[`."""
    if key in _WHOLE_KEY_TEXT:
        return _WHOLE_KEY_TEXT[key]
    head, _, last = key.rpartition("+")
    text = _KEY_TEXT.get(last, last)
    if not head:
        return text
    return f"^{text}" if head == "ctrl" else f"{head}+{text}"


def key_of(text: str) -> str | None:
    """Return the Textual name of a key that people write in another way; None for all others."""
    names = {shown: key for key, shown in (_KEY_TEXT | _WHOLE_KEY_TEXT).items()}
    return names.get(text)
