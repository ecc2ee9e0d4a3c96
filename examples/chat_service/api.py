"""The API: uvicorn chat_service.api:app"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from glidemq_core import (
    Actor,
    CallTimeoutError,
    GlideMQError,
    InvalidOptionError,
    JobNotFoundError,
    JobStateError,
    Queue,
    ServerUnavailableError,
    connect,
    to_json,
)

from .payloads import QUEUE, Answer, Ask
from .story import Turns, story

#: What an error of the engine means to a browser.
STATUS: Mapping[type[GlideMQError], HTTPStatus] = {
    JobNotFoundError: HTTPStatus.NOT_FOUND,
    JobStateError: HTTPStatus.CONFLICT,
    InvalidOptionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ServerUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    CallTimeoutError: HTTPStatus.SERVICE_UNAVAILABLE,
}


class NewChat(BaseModel):
    """What a browser sends."""

    text: str = Field(min_length=1, max_length=4_000)


class Verdict(BaseModel):
    """What an approver sends: `review_hash` says what they saw."""

    approved: bool
    review_hash: str
    reason: str = "not approved"


@dataclass(frozen=True)
class Service:
    """What requests share."""

    queue: Queue[Ask, Answer]
    turns: Turns
    approvers: Mapping[str, str]


def service(request: Request) -> Service:
    """Give what the application opened."""
    opened: Service = request.app.state.service
    return opened


Shared = Annotated[Service, Depends(service)]


def approver(shared: Shared, authorization: Annotated[str, Header()] = "") -> str:
    """Give the name of who decides; it comes from their token, never from what they say."""
    given = authorization.removeprefix("Bearer ").encode()
    for token, name in shared.approvers.items():
        if secrets.compare_digest(token.encode(), given):
            return name
    raise HTTPException(HTTPStatus.UNAUTHORIZED, "a token of an approver is needed")


Approver = Annotated[str, Depends(approver)]


router = APIRouter()


@router.get("/", response_class=HTMLResponse)
async def page() -> str:
    """Show a chat."""
    return (Path(__file__).parent / "page.html").read_text("utf-8")


@router.post("/chat", status_code=HTTPStatus.ACCEPTED)
async def ask(chat: NewChat, shared: Shared) -> dict[str, str]:
    """Take a question; the answer comes through the stream."""
    job = await shared.queue.add("answer", {"text": chat.text}, attempts=3, backoff=500, timeout=120_000)
    assert job is not None  # only a duplicate is not added, and nothing here is one
    return {"id": job.id, "stream": f"/chat/{job.id}/stream"}


@router.get("/chat/{job_id}/stream")
async def follow(
    job_id: str,
    shared: Shared,
    last_event_id: Annotated[str, Header(pattern=r"^\d{1,15}(-\d{1,15})?$")] = "0",
) -> StreamingResponse:
    """Stream tokens and turns to the end of the chat; a browser that reconnects goes on where it was."""
    if not await shared.queue.get_job(job_id, exclude_data=True):
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such chat")

    async def lines() -> AsyncIterator[str]:
        async for message in story(shared.queue, shared.turns, job_id, last_event_id):
            yield str(message)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get("/chat/{job_id}/approval")
async def look(job_id: str, shared: Shared, name: Approver) -> dict[str, Any]:
    """Show an approver everything that their decision covers."""
    shown: dict[str, Any] = to_json(await shared.queue.review(job_id))
    return shown


@router.post("/chat/{job_id}/approval")
async def decide(job_id: str, verdict: Verdict, shared: Shared, name: Approver) -> JSONResponse:
    """Approve or reject what was shown; refused if it has changed since, or somebody was faster."""
    queue, actor = shared.queue, Actor(name, via="chat-api")
    if verdict.approved:
        decision = await queue.approve(job_id, actor=actor, expect=verdict.review_hash)
    else:
        decision = await queue.reject(job_id, actor=actor, reason=verdict.reason, expect=verdict.review_hash)
    return JSONResponse(to_json(decision), HTTPStatus.OK if decision.ok else HTTPStatus.CONFLICT)


async def refused(request: Request, error: Exception) -> JSONResponse:
    """Answer what the engine refused; what nobody expected is a defect and rises."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    return JSONResponse({"error": str(error)}, status)


def create_app(url: str | None = None, approvers: Mapping[str, str] | None = None) -> FastAPI:
    """Make the application.

    Args:
        url: the server; None takes GLIDEMQ_URL.
        approvers: names by token; None takes CHAT_APPROVERS, `token=name,token=name`.
    """
    if approvers is None:
        pairs = (pair.partition("=") for pair in os.environ.get("CHAT_APPROVERS", "").split(",") if pair)
        approvers = {token: name for token, _, name in pairs}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with connect(url, role="chat-api") as connection:
            turns = Turns(connection)
            app.state.service = Service(Queue[Ask, Answer](QUEUE, connection), turns, approvers)
            listening = asyncio.create_task(turns.listen())
            yield
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    app = FastAPI(title="chat", lifespan=lifespan)
    app.add_exception_handler(GlideMQError, refused)
    app.include_router(router)
    return app


app = create_app()
