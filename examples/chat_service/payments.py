"""A payment provider that takes an idempotency key, as real ones do."""

_done: dict[str, int] = {}


async def refund(euros: int, *, key: str) -> int:
    """Pay back once a key, however often it is asked; returns the euros."""
    return _done.setdefault(key, euros)
