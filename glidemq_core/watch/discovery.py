"""The queues of a server: given, registered, and found by a slow scan with a fixed budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from glidemq_core.options.fields import refuse, whole
from glidemq_core.reading.reader import Reader, Throttle
from glidemq_core.reading.scan import scan_cluster
from glidemq_core.records import Discovery
from glidemq_core.wire.keys import discovery_pattern, queue_of, registry, usage_queues
from glidemq_core.wire.replies import failed, integer, sliced, text

#: Names checked for existence in one go.
_CHECK = 256
#: Queues kept at most; more are left out, and `left_out` says so.
MOST_QUEUES = 10_000
#: Names that one step over a registry returns, and steps a call takes; the next call goes on where it stopped.
_REGISTRY_STEP, _REGISTRY_STEPS = 1_000, 10
#: Registered names whose queue is checked by the first call, and by each later one.
_CHECKED_FIRST, _CHECKED = 5_000, 256


class Discoverer:
    """Finds queues, unless `only` the given ones matter, and remembers names; given ones need not exist."""

    def __init__(self, reader: Reader, given: Iterable[str], *, only: bool = False) -> None:
        self._reader = reader
        self.given = tuple(dict.fromkeys(given))
        self._only = only
        self._found: dict[str, None] = {}
        #: Registered names that had no keys when they were checked last, the longest ago first.
        self._absent: dict[str, None] = {}
        #: Cursor of the walk over each registry.
        self._registry: dict[str, str] = {}
        #: Whether there are more queues than are kept.
        self.left_out = False
        #: False until a scan has seen every key once.
        self.complete = False
        #: False until the registries have been asked once.
        self.asked = False
        #: TPM window lengths (ms) by queue, learned from key names.
        self.windows: dict[str, int] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All known names in alphabetical order."""
        return tuple(sorted({*self.given, *self._found}))

    async def known(self) -> tuple[str, ...]:
        """Ask the registries; names without any key left are not taken from them.

        A call reads and checks a bounded number of names; in large registries the next call goes on.
        """
        if self._only:
            self.asked = self.complete = True
            return self.names
        for name in await self._registered():
            if _is_name(name) and name not in self._found:
                self._absent.setdefault(name)
        asked = list(self._absent)[: _CHECKED if self.asked else _CHECKED_FIRST]
        existing = set(await self.existing(asked))
        for name in asked:
            # Another call may have checked it meanwhile.
            self._absent.pop(name, None)
            if name not in existing and name not in self._found:
                self._absent[name] = None
        self._keep(name for name in asked if name in existing)
        self.asked = True
        return self.names

    async def _registered(self) -> list[str]:
        """Read the next names of both registries."""
        prefix = self._reader.prefix
        names: list[str] = []
        for key in (registry(prefix), usage_queues(prefix)):
            cursor = self._registry.get(key, "0")
            for _ in range(_REGISTRY_STEPS):
                page = await self._reader.read_one("SSCAN", key, cursor, "COUNT", _REGISTRY_STEP)
                if failed(page):
                    cursor = "0"
                    break
                cursor = text(page[0]) or "0"
                names += [text(name) or "" for name in page[1]]
                if cursor == "0":
                    break
            self._registry[key] = cursor
        return names

    def _keep(self, names: Iterable[str]) -> list[str]:
        """Remember queues that were found; return those there was room for."""
        kept = []
        for name in names:
            if name in self._found or len(self._found) < MOST_QUEUES:
                self._found[name] = None
                kept.append(name)
            else:
                self.left_out = True
        return kept

    async def discover(self, *, calls_per_s: float, keys_per_call: int) -> AsyncIterator[Discovery]:
        """Walk over all keys of all primaries once, `keys_per_call` keys a step; see `Watch.discover`."""
        whole(1, 100_000)(keys_per_call, "keys_per_call")
        if not calls_per_s > 0:
            refuse("calls_per_s", calls_per_s, "more than 0")
        known = await self.known()
        if self._only:
            yield Discovery(found=known, progress=1.0, complete=True, at=self._reader.now())
            return
        yield Discovery(found=known, progress=0.0, at=self._reader.now())
        sizes = await self._reader.read([("DBSIZE",)])
        size = integer(sizes[0], 0)
        throttle, looked, seen = Throttle(calls_per_s), 0, set[str]()
        async for keys in self._walk(keys_per_call, throttle):
            looked += keys_per_call
            names = {name for key in keys if (name := queue_of(self._reader.prefix, key)) is not None}
            self.windows |= dict(token_windows(self._reader, keys))
            fresh = sorted(names - seen - self._found.keys() - set(self.given))
            seen |= names
            existing = self._keep(await self.existing(fresh))
            if existing:
                progress = min(0.99, looked / size) if size else None
                yield Discovery(found=tuple(existing), progress=progress, at=self._reader.now())
        gone = await self._forget()
        self.complete = not self.left_out
        yield Discovery(gone=gone, progress=1.0, complete=self.complete, at=self._reader.now())

    async def _walk(self, keys_per_call: int, throttle: Throttle) -> AsyncIterator[list[str]]:
        pattern = discovery_pattern(self._reader.prefix)
        if self._reader.connection.is_cluster:
            async for page in scan_cluster(self._reader, pattern, keys_per_call, throttle):
                yield page
            return
        cursor = "0"
        while True:
            await throttle.wait()
            reply = await self._reader.ask("SCAN", cursor, "MATCH", pattern, "COUNT", keys_per_call)
            cursor = text(reply[0]) or "0"
            yield [text(key) or "" for key in reply[1]]
            if cursor == "0":
                return

    async def existing(self, names: Sequence[str]) -> list[str]:
        """Return those of some names that are queues."""
        found = []
        for part in sliced(names, _CHECK):
            counts = await self._reader.read([("EXISTS", *self._reader.keys(name).signs()) for name in part])
            found += [name for name, count in zip(part, counts, strict=True) if integer(count)]
        return found

    async def _forget(self) -> tuple[str, ...]:
        names = tuple(self._found)
        alive = set(await self.existing(names))
        gone = tuple(sorted(name for name in names if name not in alive))
        for name in gone:
            self._found.pop(name, None)  # another search may have come first
            self.windows.pop(name, None)
        return tuple(name for name in gone if name not in self.given)


def token_windows(reader: Reader, keys: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield queue and window length, ms, of the token counters among some keys.

    A counter `P:tpm:<n>` tells its window's length: floor(now / n), exact for windows not long past.
    """
    now = reader.now_ms()
    for key in keys:
        name = queue_of(reader.prefix, key)
        window = key.rpartition(":")[2]
        if name is None or not window.isdecimal() or key != reader.keys(name).tpm(int(window)):
            continue
        length = now // int(window) if int(window) else 0
        if length and now - int(window) * length < int(window):
            yield name, length


def _is_name(name: str) -> bool:
    return 1 <= len(name) <= 256 and not any(char in "{}:" for char in name)
