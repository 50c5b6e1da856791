"""``[calls]`` of a customer's file: strict, and every fault in words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from middleware.errors import ConfigError
from middleware.model.call import Direction
from middleware.receivers.registry import RECEIVERS
from middleware.tenants.config import SENDERS, load_tenant
from middleware.tenants.log_template import MAX_TEMPLATE, SAMPLE, find_fault, render
from middleware.tenants.secrets import digest
from middleware.tenants.tenant import CallsConfig, SkipConfig

HEAD = f"""
name = "Acme"
region = "SE"
[secrets]
insights = ["{digest("first-long-secret-text")}"]
[calls]
"""


def read(path: Path, calls: str) -> CallsConfig:
    (path / "acme.toml").write_text(HEAD + calls)
    return load_tenant(path / "acme.toml").calls


def test_every_key_is_read(tmp_path: Path) -> None:
    """Owners and groups are found whatever their capitals, numbers whatever their spelling."""
    calls = """
unknown = "create"
several = "all"
subject = "{{ direction }}"
body = "{{ summary }}"
tasks = true
join_within = "9s"
expect = ["recording", "cdr"]
wait = "1h"
owners = { " Ada@acme.se" = "71", default = "70" }
[calls.skip]
internal = false
shorter_than = "3s"
numbers = ["0701740605", "201"]
directions = ["outbound"]
groups = ["VIP"]
"""
    assert read(tmp_path, calls) == CallsConfig(
        unknown="create",
        several="all",
        subject="{{ direction }}",
        body="{{ summary }}",
        tasks=True,
        join_within=timedelta(seconds=9),
        expect=("recording", "cdr"),
        wait=timedelta(hours=1),
        owners={"ada@acme.se": "71", "default": "70"},
        skip=SkipConfig(
            internal=False,
            shorter_than=timedelta(seconds=3),
            numbers=frozenset({"+46701740605", "201"}),
            directions=frozenset({Direction.OUTBOUND}),
            groups=frozenset({"vip"}),
        ),
    )


@pytest.mark.parametrize(
    ("calls", "key"),
    [
        ('several = "some"', "calls.several"),
        ('unknown = "make"', "calls.unknown"),
        ('subject = "{{ agnet }}"', "calls.subject: 'agnet' is no fact"),
        ('body = "{% if agent %}"', "calls.body: line 1"),
        ('expect = ["fax"]', "calls.expect"),
        ('wait = "2h"', "calls.wait"),
        ('join_within = "2m"', "calls.join_within"),
        ("owners = { ada = 71 }", "calls.owners.ada"),
        ('tasks = "yes"', "calls.tasks"),
        ('skip = { numbers = ["nobody"] }', "calls.skip.numbers: entry 1"),
        ('skip = { directions = ["up"] }', "calls.skip.directions"),
        ('skip = { shorter = "3s" }', "calls.skip.shorter: is unknown; did you mean 'shorter_than'?"),
    ],
)
def test_every_fault_names_its_key(tmp_path: Path, calls: str, key: str) -> None:
    """A wrong value is told with the key that has it, and the file is refused."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, calls)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{ agent.__class__ }}",
        "{{ agent.upper() }}",
        "{{ 'a' * 999999999 }}",
        "{{ facts[0] }}",
        "{% set a = agent %}",
        "{% for a in facts %}{% for b in facts %}{% endfor %}{% endfor %}",
        "{% for fact in facts %}{{ fact.lable }}{% endfor %}",
        "{{ agent|safe }}",
        "{{ range }}",
        "{% include 'x' %}",
        "{% macro m() %}{% endmacro %}",
        "{{ agent",
        "x" * (MAX_TEMPLATE + 1),
        "{{ " + "(" * 3000 + "agent" + ")" * 3000 + " }}",
    ],
)
def test_template_can_do_nothing_but_print_facts(source: str) -> None:
    """What could fail, reach elsewhere or take for ever is refused when the file is read."""
    assert find_fault(source)


def test_output_ends_at_its_limit() -> None:
    """A template that repeats a long text stops soon after what is allowed to come out."""
    source = "{% for sign in summary %}{{ summary }}{% endfor %}"
    assert find_fault(source) is None
    assert len(render(source, "text", {**SAMPLE, "summary": "a" * 10_000}, 30_000)) < 50_000


def test_senders_that_can_be_expected_are_the_receivers() -> None:
    """Every sender that is received may be waited for."""
    assert set(RECEIVERS) <= set(SENDERS)
