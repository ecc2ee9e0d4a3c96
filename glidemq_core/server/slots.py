"""Slots of a cluster: which queues one call can reach, and what may be linked across slots."""

from __future__ import annotations

import binascii
from collections.abc import Iterable

from ..options.fields import refuse
from ..wire.keys import QueueKeys
from .connection import Connection

_SLOTS = 16_384


def slot_of(connection: Connection, keys: QueueKeys) -> int:
    """Slot of a queue; without a cluster one call reaches them all, as if there were one."""
    if not connection.is_cluster:
        return 0
    tag = keys.root.partition("{")[2].partition("}")[0]
    return binascii.crc_hqx(tag.encode(), 0) % _SLOTS


def check_one_slot(connection: Connection, queues: Iterable[QueueKeys], cross_slot: bool) -> None:
    """Refuse jobs that wait for jobs in another slot, unless the caller vouches for the workers.

    A glide-mq worker completes a child and tells its parent in one call, which a cluster refuses if their slots
    differ: the child stays active and the worker ends with an error.

    Args:
        queues: those of all jobs that are linked.
        cross_slot: only Python workers serve the queues.

    Raises:
        InvalidOptionError: they lie in several slots.
    """
    if not isinstance(cross_slot, bool):
        refuse("cross_slot", cross_slot, "True or False")
    if cross_slot or not connection.is_cluster:
        return
    first: QueueKeys | None = None
    for keys in queues:
        if first is None:
            first = keys
        elif slot_of(connection, keys) != slot_of(connection, first):
            refuse(
                "cross_slot",
                cross_slot,
                "True if only Python workers serve both queues; else keep a flow in one queue",
                f"queues '{first.queue}' and '{keys.queue}' lie in different slots of the cluster, where a Node worker "
                "that runs such a child ends with an error; cross_slot=True says that only Python workers serve them",
            )
