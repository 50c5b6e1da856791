"""A bare Flask view that gives the same bytes after the same bearer check: what Flask itself costs.

With ``BENCH_CUSTOMERS`` it seeks the customer in a list of so many, and with ``BENCH_CRM`` it asks each customer's CRM
on the request's own thread, as nobody should.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from flask import Flask, Response, request

app = Flask("bare")
BODY = Path(os.environ["BENCH_BODY"]).read_bytes() if "BENCH_BODY" in os.environ else b"{}"
HEADER = f"Bearer {os.environ['BENCH_SECRET']}"
CUSTOMERS = [f"c{i}" for i in range(int(os.environ.get("BENCH_CUSTOMERS", "0")))]
CRM = os.environ.get("BENCH_CRM")
PATIENCE = 2.6  # seconds


@app.get("/<customer>/lookup")
def lookup(customer: str) -> Response:
    """Answer the one contact that there is."""
    number = request.args.get("fromNumber")
    if request.headers.get("Authorization") != HEADER or not number:
        return Response(status=403)
    if CUSTOMERS and not any(known == customer for known in CUSTOMERS):
        return Response(status=403)
    return Response(_ask(customer, number) if CRM else BODY, mimetype="application/json")


def _ask(customer: str, number: str) -> bytes:
    with urlopen(f"{CRM}/{customer}/contacts?number={quote(number)}", timeout=PATIENCE) as answer:
        body: bytes = answer.read()
        return body
