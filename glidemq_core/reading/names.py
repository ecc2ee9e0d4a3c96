"""Names for completion: read without the driver, bounded, and never worth an error."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..errors import EmbeddedServerError
from ..server.probe import first_reached, signed_in, tls_context
from ..server.resp import Reply, ReplyError
from ..server.url import EMBEDDED, Address, Settings, settings
from ..wire.keys import QueueKeys, literal, registry, usage_queues

#: Entries of a set that are looked at in one call.
_PAGE = 5_000
#: Sorted sets of job ids by state, and whether the newest have the highest scores.
_SETS = {
    "completed": ("completed", True),
    "failed": ("failed", True),
    "suspended": ("suspended", False),
    "delayed": ("scheduled", False),
    "prioritized": ("scheduled", False),
}
#: States whose jobs stand in the stream.
_STREAM = ("waiting", "active")


async def settings_of_running(url: str, **keywords: Any) -> Settings:
    """Read a server URL as `connect` does; an embedded server is joined when it runs, never started.

    Raises:
        GlideMQError: the URL is not allowed, or the embedded server does not run.
    """
    if not url.startswith(EMBEDDED):
        return settings(url, **keywords)
    from ..server.embedded.server import EmbeddedServer

    server, query = EmbeddedServer.of_url(url)
    if not (await server.status()).running:
        raise EmbeddedServerError("it does not run", data_dir=str(server.data_dir), log_path=None)
    given = {name: value for name, value in keywords.items() if name != "password_file"}
    return settings(server.url + query, **given)


async def read_queue_names(server: Settings, start: str, limit: int) -> list[str]:
    """Return names of queues that begin with a text, as far as they are registered; at most `limit`."""
    pattern = literal(start) + "*"
    keys = (registry(server.prefix), usage_queues(server.prefix))
    replies = await _ask(
        server, *(("SSCAN", key, "0", "MATCH", pattern, "COUNT", str(_PAGE)) for key in keys)
    )
    found = {name for reply in replies if isinstance(reply, list) for name in _texts(reply[-1])}
    return sorted(found)[:limit]


async def read_recent_ids(
    server: Settings, queue: str, states: Iterable[str], start: str, limit: int
) -> list[str]:
    """Return ids of jobs in some states that begin with a text, newest first, out of the `limit` newest of each."""
    keys, wanted = QueueKeys(server.prefix, queue), list(dict.fromkeys(states))
    commands: list[tuple[str, ...]] = []
    if any(state in _STREAM for state in wanted):
        commands.append(("XREVRANGE", keys.stream, "+", "-", "COUNT", str(limit)))
    for name, newest_last in dict.fromkeys(_SETS[state] for state in wanted if state in _SETS):
        order = "ZREVRANGE" if newest_last else "ZRANGE"
        commands.append((order, getattr(keys, name), "0", str(limit - 1)))
    found: dict[str, None] = {}
    for words, reply in zip(commands, await _ask(server, *commands), strict=True):
        ids = _stream_ids(reply) if words[0] == "XREVRANGE" else _texts(reply)
        found.update(dict.fromkeys(ids))
    return [job_id for job_id in found if job_id.startswith(start)]


def _stream_ids(reply: Reply) -> list[str]:
    """Return the ids of the jobs in entries of the stream."""
    ids = []
    for entry in reply if isinstance(reply, list) else ():
        fields = _texts(entry[1]) if isinstance(entry, list) and len(entry) == 2 else []
        ids += [value for name, value in zip(fields[::2], fields[1::2], strict=False) if name == "jobId"]
    return ids


def _texts(reply: Reply) -> list[str]:
    return [text for text in reply if isinstance(text, str)] if isinstance(reply, list) else []


async def _ask(settings: Settings, *commands: tuple[str, ...]) -> list[Reply]:
    """Run commands without the driver; None for one that was refused. Raises as `signed_in`."""
    secret, tls = await settings.secret(), tls_context(settings) if settings.tls else None
    return await first_reached(settings, lambda address: _ask_each(address, settings, secret, tls, commands))


async def _ask_each(
    address: Address,
    settings: Settings,
    secret: str | None,
    tls: ssl.SSLContext | None,
    commands: tuple[tuple[str, ...], ...],
) -> list[Reply]:
    """Run commands at an address; what a cluster keeps elsewhere is asked for there."""
    replies: list[Reply] = []
    async with signed_in(address, settings, secret, tls) as (wire, _):
        for words in commands:
            try:
                replies.append(await wire.ask(*words))
            except ReplyError as error:
                moved = re.fullmatch(r"MOVED \d+ (.*):(\d+)", str(error))
                if moved is None or not settings.cluster:
                    replies.append(None)
                    continue
                owner = (moved[1] or address[0], int(moved[2]))
                replies += await _ask_each(owner, replace(settings, cluster=False), secret, tls, (words,))
    return replies
