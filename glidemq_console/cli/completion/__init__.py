"""Completion of command lines in bash, zsh and fish: the script of a shell asks, words answer it, never an error."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

#: Set by the script of a shell: which shell asks, the line up to the cursor, and where that shell breaks words.
SHELL, LINE, BREAKS = "_GLIDEMQ_COMPLETE", "_GLIDEMQ_LINE", "_GLIDEMQ_BREAKS"


def answer() -> int:
    """Write what may stand at the cursor, one a line; what goes wrong is nobody's business."""
    shell, line = os.environ.pop(SHELL), os.environ.pop(LINE, "")
    with suppress(Exception, KeyboardInterrupt, SystemExit):
        from .words import Position
        from .writing import written

        position = Position.of(line)
        sys.stdout.write(written(position.candidates(), position, shell, os.environ.pop(BREAKS, "")))
        sys.stdout.flush()
    return 0
