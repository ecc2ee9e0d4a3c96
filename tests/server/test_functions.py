"""The server library: its version is pinned to its text."""

from __future__ import annotations

from importlib.resources import files

from glidemq_core.server import functions


def test_the_version_is_raised_when_the_lua_changes() -> None:
    pinned = dict(
        line.split()
        for line in files(functions).joinpath("versions.txt").read_text().splitlines()
        if line[:1] != "#"
    )

    assert pinned[functions.LIBRARY] == functions.digest(), (
        "the Lua changed: raise VERSION and pin the new digest in versions.txt"
    )


def test_no_function_name_clashes_with_the_system_we_are_compatible_with() -> None:
    assert not functions.LIBRARY.startswith("glidemq")
    assert "glidemq_" not in functions.source()


async def test_two_clients_that_load_at_once_both_work(connection) -> None:  # type: ignore[no-untyped-def]
    import asyncio

    await connection.client.custom_command(["FUNCTION", "FLUSH"])

    answers = await asyncio.gather(*(connection.read("version", "glide:{q}") for _ in range(20)))

    assert set(answers) == {functions.build().encode()}
