"""A bare Flask view that gives the same bytes after the same bearer check: what Flask itself costs."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, request

app = Flask("bare")
BODY = Path(os.environ["BENCH_BODY"]).read_bytes()
HEADER = f"Bearer {os.environ['BENCH_SECRET']}"


@app.get("/<customer>/lookup")
def lookup(customer: str) -> Response:
    """Answer the one contact that there is."""
    if request.headers.get("Authorization") != HEADER or not request.args.get("fromNumber"):
        return Response(status=403)
    return Response(BODY, mimetype="application/json")
