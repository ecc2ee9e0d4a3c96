"""Figures of queues for Prometheus: gauges from reads of fixed size, counters added up from the minutes."""

from .exporter import Exporter

__all__ = ["Exporter"]
