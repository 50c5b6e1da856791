"""What is drawn, and for whom; adapters and the system beside."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from middleware.console.pages.plots import WINDOWS, draw
from middleware.console.plot import HEIGHT, LEFT, WIDTH, lines, stack
from middleware.crm.registry import load_adapters
from middleware.metrics.history import Sample
from middleware.metrics.names import EVENTS, LOOKUPS
from tests.conftest import House
from tests.console.conftest import HOME, SignIn

NOW = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)


def _begins(count: int) -> list[datetime]:
    return [NOW + timedelta(minutes=5 * i) for i in range(count)]


def test_bars_lie_upon_each_other_within_the_plot() -> None:
    """Each bar begins where the one below ends, is as high as its amount, and none leaves the plot."""
    plot = stack("p", "Lookups", _begins(3), {"hit": [4, 0, 7], "miss": [1, 0, 1]}, {"hit": 0, "miss": 3})
    below, above = [bar for bar in plot.bars if bar.x == LEFT]
    assert below.y == pytest.approx(above.y + above.height, abs=0.2)
    assert below.height == pytest.approx(4 * above.height, abs=0.5)
    assert (below.colour, above.colour) == (0, 3)
    assert len(plot.bars) == 4, "nothing is drawn where there is nothing"
    assert all(bar.y >= 0 and bar.y + bar.height <= HEIGHT and bar.x + bar.width <= WIDTH for bar in plot.bars)
    assert plot.words == "Lookups: hit 11, miss 2."


def test_a_line_is_broken_where_nothing_is_known() -> None:
    """A gap is no zero: pieces on its sides are not joined, and a value alone is a dot."""
    plot = lines("p", "Took", _begins(5), {"half": [1.0, 2.0, None, 3.0, None]})
    whole, alone = plot.lines
    assert len(whole.points.split()) == 2
    assert whole.dot is None
    assert alone.dot
    assert plot.words == "Took; the latest: half 3."


def test_an_empty_plot_says_so() -> None:
    """Without numbers there are no bars and no lines, whatever the window."""
    for window in WINDOWS.values():
        plots = draw(lambda *_, **__: [], "acme", window, NOW)
        assert [plot.is_empty for plot in plots] == [True] * 4


def test_samples_fall_into_their_steps() -> None:
    """What was counted within one step is one number, the newest step is the last, and none is lost."""
    window = WINDOWS["2d"]
    begin = int(NOW.timestamp()) // 300 * 300
    samples = [
        Sample(begin=begin - ago, what=LOOKUPS.name, outcome="hit", bucket=2, value=1) for ago in (0, 300, 1800, 86_400)
    ]
    samples.append(Sample(begin=begin, what=EVENTS.name, outcome="accepted", bucket=-1, value=5))
    plots = draw(lambda *_, **__: samples, "acme", window, NOW)
    hits = plots[0].series["hit"]
    assert hits[-1] == 2
    assert hits[-2] == 1
    assert sum(filter(None, hits)) == 4
    took = plots[1].series["half of the lookups"]
    assert took[-1] == pytest.approx(7.5)
    assert took[-3] is None
    assert plots[2].series == {"accepted": [*[0.0] * 95, 5.0]}


def test_each_role_sees_its_plots(console: House, signed_in: SignIn) -> None:
    """Staff see the total and each customer, a customer's admin himself, and never the total or another."""
    console.lookup()
    console.lookup(console.customers["harbour"].known_numbers[0], "harbour")
    cleo, nora = signed_in("cleo"), signed_in("nora")
    assert "Lookups by outcome: hit 2." in cleo.get(f"{HOME}/plots").text
    assert "Lookups by outcome: hit 1." in cleo.get(f"{HOME}/plots?customer=harbour").text
    assert "Lookups by outcome: hit 1." in nora.get(f"{HOME}/plots").text
    assert "Plots of nordlys" in nora.get(f"{HOME}/plots").text
    assert nora.get(f"{HOME}/plots?customer=harbour").status_code == 404
    assert cleo.get(f"{HOME}/plots?customer=nobody").status_code == 404
    assert cleo.get(f"{HOME}/plots?window=never").status_code == 200


def test_counts_that_cannot_be_read_are_told(console: House, signed_in: SignIn) -> None:
    """A database of counts that is broken costs the figures, and no page."""
    (console.folder / "metrics.db").unlink(missing_ok=True)
    (console.folder / "metrics.db").mkdir()
    ada = signed_in()
    assert "The counts cannot be read." in ada.get(f"{HOME}/plots").text
    assert "cannot be read" in ada.get(f"{HOME}/customer/nordlys").text
    assert ada.get(f"{HOME}/customers").status_code == 200


def test_every_adapter_is_in_the_reference(console: House, signed_in: SignIn) -> None:
    """What can be connected is there with each of its settings; who is a customer does not see it."""
    text = signed_in("cleo").get(f"{HOME}/adapters").text
    for name, kind in load_adapters().items():
        part = re.search(rf'<h2 id="{name}">.*?</section>', text, re.DOTALL)
        assert part, name
        for setting in fields(kind.settings_type):
            assert f"<code>{setting.name}</code></th>" in part[0], (name, setting.name)
    assert signed_in("nora").get(f"{HOME}/adapters").status_code == 403


def test_the_system_is_the_hosters(console: House, signed_in: SignIn) -> None:
    """Versions, storage and retention are shown to the hoster, and to nobody else."""
    text = signed_in().get(f"{HOME}/system").text
    assert "SQLite 3." in text
    assert "400 days" in text
    assert re.search(r"<dt>Database</dt><dd>[\d.]+ KiB</dd>", text)
    assert "Nobody is told of them" in text
    assert [signed_in(name).get(f"{HOME}/system").status_code for name in ("cleo", "nora")] == [403, 403]
