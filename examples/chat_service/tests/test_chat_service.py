"""The whole service: a browser's requests, a worker, an approver, on the server of glidemq's pytest plugin."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from glidemq_core import Connection, Worker
from glidemq_core.testing import make_job

from .. import payments
from ..api import create_app
from ..payloads import QUEUE, Answer, Ask
from ..worker import answer, handlers

ADA = {"Authorization": "Bearer secret-of-ada"}


@pytest.fixture
async def browser(glidemq_server: str, glidemq_connection: Connection) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API, which runs as it does in production."""
    app = create_app(f"{glidemq_server}?prefix={glidemq_connection.prefix}", {"secret-of-ada": "ada"})
    # Streams end with their chats; what is left at the end of a test is not waited for.
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "the API did not start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client
    server.should_exit = True
    await serving


@pytest.fixture
async def worker(glidemq_connection: Connection) -> AsyncIterator[Worker[Ask, Answer]]:
    async with Worker[Ask, Answer](
        QUEUE, handlers, glidemq_connection, promotion_interval=50, log_errors=False
    ) as running:
        yield running


class Stream:
    """What a browser reads: server-sent events, one after the other."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.last_id = ""

    async def event(self) -> tuple[str, Any]:
        """Wait for the next event; returns its name and data."""
        found: dict[str, str] = {}
        async for line in self._lines:
            if line:
                name, _, value = line.partition(": ")
                found[name] = value
            elif "event" in found:
                self.last_id = found.get("id", self.last_id)
                return found["event"], json.loads(found["data"])
        raise AssertionError("the stream ended")

    async def until(self, name: str) -> tuple[str, dict[str, Any]]:
        """Join the tokens before the first event of a name, and give its data."""
        text = ""
        while True:
            event, data = await self.event()
            if event == name:
                return text, data
            if event == "token":
                text += data["text"]

    async def rest(self) -> tuple[str, list[str], dict[str, Any]]:
        """Read to the end: tokens joined, the names of all other events, how it ended."""
        text, names = "", []
        while True:
            event, data = await self.event()
            names.append(event)
            if event == "end":
                return text, [name for name in names if name != "token"], data
            text += data.get("text", "")


@asynccontextmanager
async def chat(browser: httpx.AsyncClient, text: str) -> AsyncIterator[tuple[str, Stream]]:
    """Ask, and read what comes."""
    asked = await browser.post("/chat", json={"text": text})
    assert asked.status_code == 202
    async with reading(browser, asked.json()["id"]) as stream:
        yield asked.json()["id"], stream


@asynccontextmanager
async def reading(
    browser: httpx.AsyncClient, job_id: str, last_id: str | None = None
) -> AsyncIterator[Stream]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with browser.stream("GET", f"/chat/{job_id}/stream", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


async def test_tokens_come_while_they_are_written(
    browser: httpx.AsyncClient, worker: Worker[Ask, Answer]
) -> None:
    async with chat(browser, "hello there") as (_, stream):
        assert await stream.event() == ("token", {"text": "You "})
        text, ended = await stream.until("end")
    assert text == "wrote: hello there "
    result = {"text": "You wrote: hello there ", "refunded": False}
    assert ended == {"state": "completed", "result": result, "reason": None}


async def test_a_browser_that_reconnects_goes_on_where_it_was(
    browser: httpx.AsyncClient, worker: Worker[Ask, Answer]
) -> None:
    async with chat(browser, "one two three four five") as (job_id, stream):
        await stream.event()
        await stream.event()
    async with reading(browser, job_id, stream.last_id) as again:
        text, ended = await again.until("end")
    assert (text, ended["state"]) == ("one two three four five ", "completed")


async def test_another_attempt_is_told(browser: httpx.AsyncClient, worker: Worker[Ask, Answer]) -> None:
    async with chat(browser, "a flaky line") as (_, stream):
        begun, retry = await stream.until("retrying")
        assert (retry["reason"], retry["in_ms"]) == ("the model is overloaded", 500)
        assert retry["at_ms"] >= int(stream.last_id.partition("-")[0])
        text, ended = await stream.until("end")
    assert begun == "You wrote: "  # all of it came before the retry was told
    assert (text, ended["state"]) == ("You wrote: a flaky line ", "completed")


async def test_a_refund_waits_for_a_person(
    browser: httpx.AsyncClient, worker: Worker[Ask, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    paid: dict[str, int] = {}
    monkeypatch.setattr(payments, "_done", paid)
    async with chat(browser, "refund 40") as (job_id, stream):
        draft, waits = await stream.until("suspended")
        assert draft == "You wrote: refund 40 "
        assert waits["reason"] == "refund 40 EUR?"
        shown = (await browser.get(f"/chat/{job_id}/approval", headers=ADA)).json()
        assert shown["draft"] == draft
        assert [call["args"] for call in shown["tool_calls"]] == ['{"euros": 40}']
        assert paid == {}

        verdict = {"approved": True, "review_hash": shown["review_hash"]}
        decided = await browser.post(f"/chat/{job_id}/approval", json=verdict, headers=ADA)
        assert (decided.status_code, decided.json()["by"]) == (200, "ada")
        late = await browser.post(f"/chat/{job_id}/approval", json=verdict, headers=ADA)
        assert (late.status_code, late.json()["outcome"]) == (409, "not_suspended")

        text, turns, ended = await stream.rest()
    assert (turns, text) == (["resumed", "end"], "40 EUR are on their way.")
    assert ended["result"] == {"text": text, "refunded": True}
    assert paid == {job_id: 40}


async def test_a_rejection_is_told(browser: httpx.AsyncClient, worker: Worker[Ask, Answer]) -> None:
    async with chat(browser, "refund 9000") as (job_id, stream):
        await stream.until("suspended")
        shown = (await browser.get(f"/chat/{job_id}/approval", headers=ADA)).json()
        verdict = {"approved": False, "review_hash": shown["review_hash"], "reason": "too much"}
        assert (await browser.post(f"/chat/{job_id}/approval", json=verdict, headers=ADA)).status_code == 200
        text, _, ended = await stream.rest()
    assert (text, ended["result"]["refunded"]) == ("No refund: too much.", False)


async def test_who_opens_a_suspended_chat_learns_that_it_waits(
    browser: httpx.AsyncClient, worker: Worker[Ask, Answer]
) -> None:
    async with chat(browser, "refund 5") as (job_id, stream):
        await stream.until("suspended")
    async with reading(browser, job_id) as later:
        draft, waits = await later.until("suspended")
    assert (draft, waits["reason"]) == ("You wrote: refund 5 ", "refund 5 EUR?")


async def test_only_approvers_decide(browser: httpx.AsyncClient, worker: Worker[Ask, Answer]) -> None:
    async with chat(browser, "refund 5") as (job_id, stream):
        await stream.until("suspended")
        for headers in ({}, {"Authorization": "Bearer guessed"}):
            verdict = {"approved": True, "review_hash": "0" * 64}
            refused = await browser.post(f"/chat/{job_id}/approval", json=verdict, headers=headers)
            assert refused.status_code == 401
            assert (await browser.get(f"/chat/{job_id}/approval", headers=headers)).status_code == 401
        # A decision on something else than what is there now counts for nothing.
        unseen = {"approved": True, "review_hash": "0" * 64}
        refused = await browser.post(f"/chat/{job_id}/approval", json=unseen, headers=ADA)
        assert (refused.status_code, refused.json()["outcome"]) == (409, "changed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat/999/stream", 404),
        ("GET", "/chat/other:1/stream", 422),
        ("GET", "/chat/999/approval", 404),
        ("POST", "/chat", 422),
    ],
)
async def test_what_cannot_be_is_refused(
    browser: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    refused = await browser.request(method, path, json={}, headers=ADA)
    assert refused.status_code == status


async def test_many_browsers_share_the_connections(
    browser: httpx.AsyncClient, worker: Worker[Ask, Answer], glidemq_connection: Connection
) -> None:
    async with chat(browser, "refund 1") as (job_id, first), AsyncExitStack() as stack:
        await first.until("suspended")
        before = len((await glidemq_connection.command("CLIENT", "LIST")).splitlines())
        streams = [await stack.enter_async_context(reading(browser, job_id)) for _ in range(20)]
        for stream in streams:
            await stream.until("suspended")
        after = len((await glidemq_connection.command("CLIENT", "LIST")).splitlines())
    assert after - before <= 4


async def test_the_page_is_served(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for event in ("token", "tool", "suspended", "resumed", "retrying", "end"):
        assert f'on("{event}"' in page.text


async def test_the_handler_alone() -> None:
    job = make_job("answer", Ask(text="hi"))
    assert await answer(job) == {"text": "You wrote: hi ", "refunded": False}
    assert "".join(chunk["content"] for chunk in job.streamed) == "You wrote: hi "
    approved = make_job("answer", Ask(text="refund 7"), decision="approve")
    assert (await answer(approved))["refunded"] is True
