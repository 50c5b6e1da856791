"""The body of a request, whole or not at all."""

from __future__ import annotations

from typing import NoReturn

from flask import abort, request
from werkzeug.exceptions import ClientDisconnected, HTTPException

from middleware.web.problems import problem


def read_body(most: int) -> bytes:
    """Return the body; ends the request with 413 beyond ``most`` bytes and with 400 when a part did not come.

    The configured limit must be at least one byte larger than ``most``: where no length is given, what comes
    behind the limit is cut off without a word.
    """
    try:
        raw = request.get_data()
    except ClientDisconnected:
        _refuse_cut_off()
    except HTTPException:
        raise
    except Exception:  # the server has exceptions of its own for a broken chunk
        _refuse_cut_off()
    if len(raw) > most:
        abort(413)
    if request.content_length not in (None, len(raw)):
        _refuse_cut_off()
    return raw


def _refuse_cut_off() -> NoReturn:
    abort(problem(400, "The body did not come whole."))
