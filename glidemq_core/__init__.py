"""Asyncio engine for AI job queues on Valkey, wire-compatible with glide-mq."""
