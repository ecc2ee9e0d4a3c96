"""Watching the source files of an application by looking at them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

#: Time between two looks, s.
_LOOK_S = 0.5
#: A look that took long is followed by a rest of this many times as long.
_REST = 10
#: Who writes several files gets this long between two of them, s.
_SETTLE_S = 0.15
#: Files that are watched at most.
_FILES = 20_000
#: Folders that hold no code of the application.
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})

Stamp = tuple[int, int]


class SourceWatch:
    """Tells when a Python file below some folders was changed, added or removed.

    Args:
        folders: hidden folders, virtual environments and installed packages in them are left out.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._here = os.path.join(os.getcwd(), "")
        self._seen: dict[str, Stamp] = {}

    def look(self) -> None:
        """Take what is there now as known."""
        self._seen = self._scan()

    async def changed(self) -> str:
        """Wait for a change since the last look and until no further one follows; returns the name of a file."""
        loop, took_s = asyncio.get_running_loop(), 0.0
        while True:
            await asyncio.sleep(max(_LOOK_S, _REST * took_s))
            began = loop.time()
            found = await asyncio.to_thread(self._scan)
            took_s = loop.time() - began
            if found == self._seen:
                continue
            name = _difference(self._seen, found)
            while True:
                await asyncio.sleep(_SETTLE_S)
                settled = await asyncio.to_thread(self._scan)
                if settled == found:
                    return name.removeprefix(self._here)
                found = settled

    def _scan(self) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        for folder in self._folders:
            for path, stamp in _sources(str(folder)):
                found[path] = stamp
                if len(found) >= _FILES:
                    return found
        return found


def _sources(folder: str) -> Iterator[tuple[str, Stamp]]:
    """Yield the Python files below a folder, with size and time of change."""
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:
        return
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in sorted(entries, key=lambda entry: entry.name):
        try:
            if entry.name.endswith(".py"):
                facts = entry.stat()
                yield entry.path, (facts.st_mtime_ns, facts.st_size)
            elif (
                entry.name not in _SKIPPED
                and not entry.name.startswith(".")
                and entry.is_dir(follow_symlinks=False)
            ):
                yield from _sources(entry.path)
        except OSError:
            continue  # removed while we looked


def _difference(before: dict[str, Stamp], after: dict[str, Stamp]) -> str:
    return next(
        (path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)), ""
    )


def folders_of(targets: Iterable[str]) -> list[Path]:
    """Return the folders of an application's code: the current one, and those of the modules named, unimported."""
    folders = [Path.cwd()]
    for target in targets:
        top = target.partition(":")[0].partition(".")[0]
        spec = PathFinder.find_spec(top, ["", *sys.path])
        if spec is None or not spec.origin:
            continue
        place = Path(spec.origin).resolve().parent
        if _SKIPPED.isdisjoint(place.parts) and not any(place.is_relative_to(known) for known in folders):
            folders.append(place)
    return folders
