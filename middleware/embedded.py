"""Delivery inside a web worker, for an installation that runs gunicorn alone."""

from __future__ import annotations

from typing import Any

import structlog

from middleware.app import build_lane, build_worker
from middleware.delivery.worker import Worker
from middleware.recordings.lane import FetchLane

log = structlog.get_logger("m8crm")
_workers: list[Worker | FetchLane] = []


def start_delivery(app: Any) -> None:
    """Start to deliver, unless ``M8CRM_DELIVERY`` says that others do; never raises: that would end gunicorn."""
    try:
        parts = app.extensions["m8crm"]
        if parts.settings.delivery:
            for worker in (build_worker(parts), build_lane(parts)):
                worker.start()
                _workers.append(worker)
    except Exception as error:
        log.error("delivery_not_started", error=type(error).__name__)


def stop_delivery() -> None:
    """Give the leases back; never raises."""
    try:
        while _workers:
            _workers.pop().stop()
    except Exception as error:
        log.error("delivery_not_stopped", error=type(error).__name__)
