"""Which queues there are: named, registered, seen before, and found by a slow scan with a fixed budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from glidemq_core.errors import GlideMQError
from glidemq_core.keys import discovery_pattern, queue_of, registry, usage_queues
from glidemq_core.option_fields import refuse, whole
from glidemq_core.records import Discovery

from .scan import scan_cluster
from .source import Pace, Source, failed, integer, text

#: Names checked for existence in one go.
_CHECK = 256


class Discoverer:
    """The names known so far. Names given by the user stay, whether or not such a queue exists yet."""

    def __init__(self, source: Source, given: Iterable[str]) -> None:
        self._source = source
        self.given = tuple(dict.fromkeys(given))
        self._found: dict[str, None] = {}
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
        """Ask the registries; names without any key left are not taken from them."""
        prefix = self._source.prefix
        listed = await self._source.ask([("SMEMBERS", registry(prefix)), ("SMEMBERS", usage_queues(prefix))])
        names = {text(name) or "" for reply in listed if not failed(reply) for name in reply or ()}
        fresh = [name for name in names if _is_name(name) and name not in self._found]
        for name in await self._existing(fresh):
            self._found[name] = None
        self.asked = True
        return self.names

    async def discover(self, *, calls_per_s: float, keys_per_call: int) -> AsyncIterator[Discovery]:
        """Walk over all keys of all primaries once, `keys_per_call` keys a step; see `Watch.discover`."""
        whole(1, 100_000)(keys_per_call, "keys_per_call")
        if not calls_per_s > 0:
            refuse("calls_per_s", calls_per_s, "more than 0")
        yield Discovery(found=await self.known(), progress=0.0, at=self._source.now())
        sizes = await self._source.ask([("DBSIZE",)])
        size = integer(sizes[0], 0)
        pace, looked, seen = Pace(calls_per_s), 0, set[str]()
        async for keys in self._walk(keys_per_call, pace):
            looked += keys_per_call
            names = {name for key in keys if (name := queue_of(self._source.prefix, key)) is not None}
            self._learn_windows(keys)
            fresh = sorted(names - seen - set(self.names))
            seen |= names
            existing = await self._existing(fresh)
            self._found.update(dict.fromkeys(existing))
            if existing:
                progress = min(0.99, looked / size) if size else None
                yield Discovery(found=tuple(existing), progress=progress, at=self._source.now())
        gone = await self._forget()
        self.complete = True
        yield Discovery(gone=gone, progress=1.0, complete=True, at=self._source.now())

    async def _walk(self, keys_per_call: int, pace: Pace) -> AsyncIterator[list[str]]:
        pattern = discovery_pattern(self._source.prefix)
        if self._source.connection.is_cluster:
            async for page in scan_cluster(self._source, pattern, keys_per_call, pace):
                yield page
            return
        cursor = "0"
        while True:
            await pace.wait()
            reply = await self._source.one("SCAN", cursor, "MATCH", pattern, "COUNT", keys_per_call)
            if isinstance(reply, GlideMQError):
                raise reply
            cursor = text(reply[0]) or "0"
            yield [text(key) or "" for key in reply[1]]
            if cursor == "0":
                return

    async def _existing(self, names: Sequence[str]) -> list[str]:
        found = []
        for start in range(0, len(names), _CHECK):
            part = names[start : start + _CHECK]
            counts = await self._source.ask([("EXISTS", *self._source.keys(name).signs()) for name in part])
            found += [name for name, count in zip(part, counts, strict=True) if integer(count)]
        return found

    async def _forget(self) -> tuple[str, ...]:
        names = tuple(self._found)
        alive = set(await self._existing(names))
        gone = tuple(sorted(name for name in names if name not in alive))
        for name in gone:
            self._found.pop(name, None)  # another search may have come first
            self.windows.pop(name, None)
        return tuple(name for name in gone if name not in self.given)

    def _learn_windows(self, keys: Iterable[str]) -> None:
        for name, length in token_windows(self._source, keys):
            self.windows[name] = length


def token_windows(source: Source, keys: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield queue and window length, ms, of the token counters among some keys.

    A counter `P:tpm:<n>` tells its window's length: floor(now / n), exact for windows not long past.
    """
    now = source.now_ms()
    for key in keys:
        name = queue_of(source.prefix, key)
        window = key.rpartition(":")[2]
        if name is None or not window.isdecimal() or key != source.keys(name).tpm(int(window)):
            continue
        length = now // int(window) if int(window) else 0
        if length and now - int(window) * length < int(window):
            yield name, length


def _is_name(name: str) -> bool:
    return 1 <= len(name) <= 256 and not any(char in "{}:" for char in name)
