"""What the driver says, in our words: the texts are those of its 2.6 release, met on real servers."""

from __future__ import annotations

import pytest
from glide import ClosingError, ConnectionError, GlideError, RequestError, TimeoutError

from glidemq_core import errors
from glidemq_core.server.driver import is_disconnect, is_moving, is_replica, translate

SIGNALLED = "An error was signalled by the server: - "


@pytest.mark.parametrize(
    ("error", "wanted", "text"),
    [
        # Of one command in a pipeline, when the connection to its node breaks.
        (
            RequestError(
                "BrokenPipe: Cluster: Failed to receive command response from internal sender. RecvError(())"
            ),
            errors.ServerUnavailableError,
            "cannot reach",
        ),
        (
            ConnectionError(
                "Received connection error `Requested connection not found - ConnectionNotFoundForRoute: h`"
            ),
            errors.ServerUnavailableError,
            "was lost",
        ),
        (
            RequestError(
                "Failed to create initial connections - IoError: Failed to refresh both connections"
            ),
            errors.ServerUnavailableError,
            "cannot reach",
        ),
        (
            RequestError("Connection in recovery- ClientError"),
            errors.ServerUnavailableError,
            "cannot reach",
        ),
        (
            RequestError("Inflight request limit exhausted. limit=2000"),
            errors.ServerUnavailableError,
            "not sent",
        ),
        (
            RequestError(SIGNALLED + "TryAgain: Multiple keys request"),
            errors.ServerUnavailableError,
            "nothing was changed",
        ),
        (RequestError(SIGNALLED + "Moved: 3 h:1"), errors.ServerUnavailableError, "nothing was changed"),
        (RequestError(SIGNALLED + "ReadOnly: You can't write"), errors.ServerError, "is a replica"),
        (TimeoutError("timed out"), errors.CallTimeoutError, "did not answer"),
        (ClosingError(""), errors.ClosedError, "is closed"),
    ],
)
def test_what_the_driver_says_in_a_cluster(
    error: GlideError, wanted: type[errors.GlideMQError], text: str
) -> None:
    told = translate(error, "FCALL x", address="h:1", timeout_ms=5, key="glide:{q}", cluster=True)

    assert type(told) is wanted
    assert text in told.message


def test_only_what_broke_the_connection_lost_a_reply() -> None:
    lost = RequestError("Cluster: Failed to receive command response from internal sender")
    moved, replica = RequestError(SIGNALLED + "TryAgain: x"), RequestError(SIGNALLED + "ReadOnly: x")

    assert [is_disconnect(error) for error in (lost, moved, replica, TimeoutError("x"))] == [
        True,
        False,
        False,
        False,
    ]
    assert [is_moving(error) for error in (lost, moved, replica)] == [False, True, False]
    assert [is_replica(error) for error in (lost, moved, replica)] == [False, False, True]


def test_a_lone_server_that_moved_is_a_cluster() -> None:
    told = translate(RequestError(SIGNALLED + "Moved: 3 h:1"), "GET", address="h:1", timeout_ms=5)

    assert "part of a cluster" in told.message
