"""A bare Flask view that gives the same bytes after the same bearer check: what Flask itself costs.

With ``BENCH_CUSTOMERS`` it seeks the customer in a list of so many, as nobody should.
"""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask, Response, request

app = Flask("bare")
BODY = Path(os.environ["BENCH_BODY"]).read_bytes() if "BENCH_BODY" in os.environ else b"{}"
HEADER = f"Bearer {os.environ['BENCH_SECRET']}"
CUSTOMERS = [f"c{i}" for i in range(int(os.environ.get("BENCH_CUSTOMERS", "0")))]


@app.get("/<customer>/lookup")
def lookup(customer: str) -> Response:
    """Answer the one contact that there is."""
    if request.headers.get("Authorization") != HEADER or not request.args.get("fromNumber"):
        return Response(status=403)
    if CUSTOMERS and not any(known == customer for known in CUSTOMERS):
        return Response(status=403)
    return Response(BODY, mimetype="application/json")
