"""gunicorn's settings; every name at the top level of this file is one of them."""

import gc
import os
import resource
import sys
from pathlib import Path

chdir = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, chdir)

from middleware.settings import address  # noqa: E402 - the path is needed first

bind = address(os.environ.get("M8CRM_HOST", "127.0.0.1"), os.environ.get("M8CRM_PORT", "8080"))
worker_class = "middleware.web.inline.InlineWorker"
workers = int(os.environ.get("M8CRM_WEB_WORKERS", "2"))
threads = int(os.environ.get("M8CRM_THREADS", "256"))
worker_connections = 1024 + 2 * threads  # a connection that waits costs a few kilobytes, and no thread
backlog = 2048
keepalive = 15
timeout = 30  # of a worker that does not answer its master; requests have their own deadline
graceful_timeout = 15  # longer than the longest request
limit_request_line = 8190
limit_request_fields = 50
limit_request_field_size = 16_380
forwarded_allow_ips = ""  # nothing here trusts forwarded headers
sendfile = False  # the worker's answers do not go straight to a socket
accesslog = None  # our own line holds no query string: numbers would be in it
loglevel = "error"  # a warning may hold a request line, and that a number
control_socket_disable = True  # instances would share one


def on_starting(server):  # noqa: D103 - the name is gunicorn's
    # Loaded before the fork, a worker answers at once: after SIGHUP the old ones end when the new ones are forked,
    # not when they are ready.  New code therefore needs a restart; SIGHUP replaces workers.
    import middleware.app  # noqa: F401

    # a connection is a file, and so is one to a CRM; the usual soft limit of 1024 would end both
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def post_worker_init(worker):  # noqa: D103 - the name is gunicorn's
    from middleware.embedded import start_delivery

    start_delivery(worker.app.callable)
    # no lookup waits for the collector to look at all that was loaded, nor seven hundred objects further on
    gc.set_threshold(100_000, 20, 20)
    gc.collect()
    gc.freeze()


def worker_exit(server, worker):  # noqa: D103 - the name is gunicorn's
    from middleware.embedded import stop_delivery

    stop_delivery()
