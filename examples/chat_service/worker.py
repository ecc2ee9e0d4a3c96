"""The worker: glidemq worker chat_service.worker:worker"""

from glidemq_core import Handlers, Job, Worker

from . import model, payments
from .payloads import QUEUE, Answer, Ask

handlers = Handlers()


@handlers.on("answer")
async def answer(job: Job[Ask, Answer]) -> Answer:
    """Answer a question, word by word; a refund waits until a person has decided."""
    text, decision = job.data["text"], job.decision
    euros = model.wanted_refund(text)
    if decision is None:  # the first run, or another attempt at it
        words = []
        async for word in model.reply(text, job.attempts_made):
            words.append(word)
            await job.stream_chunk("content", word)
        await job.report_usage(
            model=model.NAME,
            tokens={"output": len(words)},
            costs={"total": len(words) / 1e6},
            cost_unit="usd",
        )
        if euros is None:
            return {"text": "".join(words), "refunded": False}
        await job.stream({"type": "tool_call", "name": "refund", "args": f'{{"euros": {euros}}}'})
        await job.suspend(reason=f"refund {euros} EUR?", timeout="1d")
    # A decision starts the function again from the top. What was approved is what is in the job now.
    assert euros is not None
    if decision.approved and decision.is_current:
        await payments.refund(euros, key=job.id)  # this line may run twice, the refund does not
        words = [f"{euros} EUR are on their way."]
    else:
        words = [f"No refund: {decision.reason or 'the question has changed'}."]
    await job.stream_chunk("content", words[0])
    return {"text": words[0], "refunded": decision.approved and decision.is_current}


# It takes the server of `glidemq worker`; jobs that failed run again within a few seconds.
worker = Worker(QUEUE, handlers, concurrency=20, promotion_interval=500)
