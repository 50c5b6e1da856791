"""What runs beside the answers inside a web worker: the watch, and delivery where gunicorn runs alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import structlog

from middleware.parts import build_index_lane, build_lane, build_watch, build_worker, mind_threads

log = structlog.get_logger("m8crm")
_at_the_end: list[Callable[[], None]] = []  # the last one first


def start_delivery(app: Any) -> None:
    """Start to watch, and to deliver unless ``M8CRM_DELIVERY`` says that others do.

    Never raises: that would end gunicorn.
    """
    try:
        mind_threads(lambda: os.kill(os.getpid(), signal.SIGTERM))  # gunicorn ends it gently, and starts another
        parts = app.extensions["m8crm"]
        _at_the_end.append(parts.counts.publish)
        others = (build_worker(parts), build_lane(parts), build_index_lane(parts)) if parts.settings.delivery else ()
        for one in (build_watch(parts), *others):
            one.start()
            _at_the_end.append(one.stop)
    except Exception as error:
        log.error("delivery_not_started", error=type(error).__name__)


def stop_delivery() -> None:
    """Give the leases back, and leave the counts to those who go on; never raises."""
    try:
        while _at_the_end:
            _at_the_end.pop()()
    except Exception as error:
        log.error("delivery_not_stopped", error=type(error).__name__)
