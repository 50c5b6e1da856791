from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from middleware.app import create_app
from middleware.demo.data import build_demo
from middleware.settings import load_settings
from middleware.web.inline import InlineWorker
from tests.conftest import NOW
from tests.web.pair import Counting, Pair, Stock
from tests.web.serving import served


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    secrets = build_demo(folder, now=NOW)[0].secrets
    file = folder / "customers" / "nordlys.toml"
    for miss in ("204", "empty"):
        (file.parent / f"miss-{miss}.toml").write_text(file.read_text().replace('miss = "404"', f'miss = "{miss}"'))
    app = create_app(load_settings(folder))
    with ExitStack() as stack:
        stock = stack.enter_context(served(app, Stock, threads=4))[1]
        worker, inline = stack.enter_context(served(app, InlineWorker, threads=4))
        worker.fast = Counting(worker.fast)
        late, waiting = stack.enter_context(served(app, InlineWorker, threads=4))
        late.fast = Counting(late.fast, is_slow=True)
        parts = app.extensions["m8crm"]
        yield Pair(stock, inline, waiting, secrets, worker.fast, late.fast, parts.lookups, parts.guesses)
    app.extensions["m8crm"].close()
