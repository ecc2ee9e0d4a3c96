"""The Valkey client library behind one small face; slow to load, so imported at the first connection."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import glide
from glide import ClosingError, ConnectionError, GlideError, TimeoutError

from ..url import Settings
from .errors import (
    is_disconnect,
    is_existing_library,
    is_missing_function,
    is_moving,
    is_replica,
    translate,
)

__all__ = [
    "ClosingError",
    "ConnectionError",
    "GlideError",
    "TimeoutError",
    "batch",
    "create",
    "everywhere",
    "is_disconnect",
    "is_existing_library",
    "is_missing_function",
    "is_moving",
    "is_replica",
    "to_node",
    "translate",
]

_READ_FROM = {
    "primary": glide.ReadFrom.PRIMARY,
    "prefer_replica": glide.ReadFrom.PREFER_REPLICA,
    "az": glide.ReadFrom.AZ_AFFINITY,
    "az_or_primary": glide.ReadFrom.AZ_AFFINITY_REPLICAS_AND_PRIMARY,
}

# The driver writes its log to the terminal, where a full-screen program runs; who set it up before keeps it.
with contextlib.suppress(Exception):
    glide.Logger.init(glide.LogLevel.OFF)


async def create(
    settings: Settings, secret: str | None, *, trust_roles: bool = False, resp2: bool = False
) -> Any:
    """Make a client that connects at its first command: making it connected would block the event loop.

    With `trust_roles` the address is taken for the primary without asking, for users who may not run INFO.
    """
    credentials = None
    if secret is not None or settings.username is not None:
        credentials = glide.ServerCredentials(password=secret or "", username=settings.username)
    tls = None
    if settings.tls:
        tls = glide.TlsAdvancedConfiguration(
            root_pem_cacerts=_read(settings.ca),
            client_cert_pem=_read(settings.cert),
            client_key_pem=_read(settings.key),
        )
    common: dict[str, Any] = {
        "addresses": [glide.NodeAddress(host, port) for host, port in settings.addresses],
        "use_tls": settings.tls,
        "credentials": credentials,
        "read_from": _READ_FROM[settings.read_from],
        "client_az": settings.az,
        "request_timeout": settings.request_timeout,
        # Waits of up to 1.6 s between attempts, for ever: a restarted server is found again soon.
        "reconnect_strategy": glide.BackoffStrategy(num_of_retries=5, factor=50, exponent_base=2),
        # Twice what we let through: requests whose caller gave up still count here.
        "inflight_requests_limit": 2 * settings.max_inflight,
        "lazy_connect": True,
        "protocol": glide.ProtocolVersion.RESP2 if resp2 else glide.ProtocolVersion.RESP3,
    }
    if settings.cluster:
        advanced = glide.AdvancedGlideClusterClientConfiguration(settings.connect_timeout, tls)
        return await glide.GlideClusterClient.create(
            glide.GlideClusterClientConfiguration(**common, advanced_config=advanced)
        )
    mode = glide.NodeDiscoveryMode.STANDARD
    if trust_roles:
        mode = glide.NodeDiscoveryMode.STATIC
    elif settings.read_from != "primary":
        mode = glide.NodeDiscoveryMode.DISCOVER_ALL
    return await glide.GlideClient.create(
        glide.GlideClientConfiguration(
            **common,
            node_discovery_mode=mode,
            advanced_config=glide.AdvancedGlideClientConfiguration(settings.connect_timeout, tls),
        )
    )


def batch(cluster: bool, commands: Sequence[list[str | bytes]]) -> Any:
    """Return a pipeline of commands; in a cluster the driver splits it by slot."""
    made = glide.ClusterBatch(is_atomic=False) if cluster else glide.Batch(is_atomic=False)
    for command in commands:
        made.custom_command(command)
    return made


def everywhere() -> Any:
    """Route of a command that every primary of a cluster must run."""
    return glide.AllPrimaries()


def to_node(host: str, port: int) -> Any:
    """Route of a command that one node of a cluster must run."""
    return glide.ByAddressRoute(host, port)


def _read(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
