"""Broadcasts: one message for every subscription of a queue."""

from .counts import SubscriptionCounts
from .publisher import Broadcast
from .subjects import compile_subject_matcher, match_subject
from .worker import BroadcastWorker

__all__ = ["Broadcast", "BroadcastWorker", "SubscriptionCounts", "compile_subject_matcher", "match_subject"]
