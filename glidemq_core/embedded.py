"""The embedded Valkey server, under its public name."""

from __future__ import annotations

from .server.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
