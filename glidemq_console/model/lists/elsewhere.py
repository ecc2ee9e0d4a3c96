"""Jobs that wait for a person on the servers of other profiles, and how each of those servers stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from glidemq_core.options.types import JobRef
from glidemq_core.records.approvals import Approval

if TYPE_CHECKING:
    from glidemq_core.records import Inbox

    from ..snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class FarRef(JobRef):
    """A job on the server of another profile. Pages and links of the console show one server only: not this one."""

    server: str

    def __str__(self) -> str:
        return f"{self.queue}:{self.id} on {self.server}"

    @property
    def near(self) -> JobRef:
        """What its own server calls it."""
        return JobRef(self.queue, self.id)

    def to_json(self) -> dict[str, str]:
        return {"queue": self.queue, "id": self.id, "server": self.server}


@dataclass(frozen=True, kw_only=True)
class FarApproval(Approval):
    """A job that waits for a person on the server of another profile."""

    server: str

    @property
    def ref(self) -> FarRef:
        return FarRef(self.queue, self.id, self.server)


@dataclass(frozen=True, kw_only=True, slots=True)
class FarServer:
    """The server of another profile: who decides there and how, and what is known of it."""

    #: Name of the profile.
    name: str
    user: str = ""
    undo_ms: int = 0
    is_prod: bool = False
    #: What was read there; None where the profile cannot be used.
    known: Snapshot | None = None
    #: What waits there, each with its server.
    items: tuple[FarApproval, ...] = ()
    #: Why it cannot be read at all: it is not tried again.
    problem: str | None = None

    @property
    def inbox(self) -> Inbox | None:
        return self.known.inbox if self.known is not None else None

    def why_not_write(self) -> str | None:
        """Say why nothing can be decided there now, or None."""
        reason = self.known.why_not_write() if self.known is not None else self.problem
        return f"{self.name}: {reason}" if reason is not None else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Elsewhere:
    """The servers of the other profiles while their approvals are listed."""

    servers: tuple[FarServer, ...] = ()
    #: Profiles that are not read, as there are too many.
    left_out: tuple[str, ...] = ()

    def server(self, name: str | None) -> FarServer | None:
        return next((server for server in self.servers if server.name == name), None)

    def standing(self, live: Elsewhere) -> Elsewhere:
        """Return how the servers stand `live`, with the jobs that are listed here where they are in both."""
        servers = []
        for now in live.servers:
            held = self.server(now.name)
            if held is not None and held.inbox is not None and now.known is not None:
                now = replace(now, items=held.items, known=replace(now.known, inbox=held.inbox))
            servers.append(now)
        return replace(live, servers=tuple(servers))


class Placing:
    """Puts its server to each job that waits there; what has not changed stays the same object."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._known: dict[str, tuple[Approval, FarApproval]] = {}

    def one(self, approval: Approval) -> FarApproval:
        """Put the server to one job."""
        values = {one.name: getattr(approval, one.name) for one in fields(approval)}
        return FarApproval(**values, server=self._server)

    def all(self, approvals: Iterable[Approval]) -> tuple[FarApproval, ...]:
        """Put the server to all that wait."""
        found: dict[str, tuple[Approval, FarApproval]] = {}
        for approval in approvals:
            before = self._known.get(str(approval.ref))
            is_same = before is not None and before[0] is approval
            found[str(approval.ref)] = before if is_same and before else (approval, self.one(approval))
        self._known = found
        return tuple(far for _, far in found.values())
