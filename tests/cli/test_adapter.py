"""``m8crm adapter``: a beginning that works, a check without pytest, exchanges without people."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import responses

from middleware.crm import registry
from middleware.crm.settings import Secret
from middleware.testing.conformance.exchanges import dump_exchanges, load_exchanges
from middleware.testing.conformance.recording import record_lookup
from middleware.testing.faults import FaultServer
from tests.cli.conftest import Run
from tests.testing.acme import load

ADA = {"id": 7, "name": "Åsa Lindqvist", "phone": "073-555 12 34", "mobile": "+46 8 123 456 78", "deleted": False}
ADA |= {"email": "asa@private.example", "changed": "2026-01-14T08:00:00Z", "company": {"name": "Hemlig AB"}}
NOTE = {"written": "2026-01-14T08:00:00Z", "text": "Åsa wants an offer, call 073-555 12 34", "author": {"name": "Eva"}}
CUSTOMER = 'name = "Acme"\nregion = "SE"\ntimezone = "Europe/Stockholm"\n[secrets]\ninsights = ["sha256:'
CUSTOMER += "0" * 64 + '"]\n'
PRIVATE = ("Åsa", "Lindqvist", "5551234", "555 12 34", "123 456 78", "asa@", "Hemlig", "Eva", "offer", "t0ken")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a project of the author's own, beside the one that is installed."""
    (tmp_path / "adapters").mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    import adapters

    monkeypatch.setattr(adapters, "__path__", [str(tmp_path / "adapters"), *adapters.__path__])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("adapters.fjord")]:
        del sys.modules[name]


def test_a_new_adapter_passes_at_once(run: Run, project: Path) -> None:
    """What `new` writes is an adapter of that name, and `check` has nothing against it."""
    assert run("adapter", "new", "fjord_crm", "--folder", str(project)).exit_code == 0
    assert 'name = "fjord_crm"' in (project / "adapters" / "fjord_crm.py").read_text(encoding="utf-8")
    result = run("adapter", "check", "fjord_crm", "--folder", str(project), "--json")
    told = json.loads(result.stdout)
    assert result.stderr == ""  # a bar is for whoever looks
    assert (result.exit_code, told["ok"]) == (0, True)
    assert sum(each["verdict"] == "passed" for each in told["checks"]) > 90


def test_check_says_how_to_mend_an_adapter(run: Run, project: Path) -> None:
    """A defect ends with status 1, the check's name, what is wrong, and how to mend it."""
    run("adapter", "new", "fjord_b", "--folder", str(project))
    path = project / "adapters" / "fjord_b.py"
    path.write_text(path.read_text(encoding="utf-8").replace('        "key": call.key,\n', ""), encoding="utf-8")
    result = run("adapter", "check", "fjord_b", "--folder", str(project))
    assert result.exit_code == 1
    assert "wrong the_log_has_the_key: what log_call writes does not hold call.key" in result.stdout
    assert "How to mend it: write call.key" in result.stdout


def test_what_an_adapter_prints_is_no_verdict(run: Run, project: Path) -> None:
    """An author who looks for a mistake may print, when the module is loaded and when a method is called."""
    run("adapter", "new", "fjord_g", "--folder", str(project))
    path = project / "adapters" / "fjord_g.py"
    printing = path.read_text(encoding="utf-8").replace("    return {name:", '    print("called")\n    return {name:')
    path.write_text(printing + '\nprint("loaded")\n', encoding="utf-8")
    result = run("adapter", "check", "fjord_g", "--folder", str(project), "--json")
    assert json.loads(result.stdout)["checks"]
    assert {"loaded", "called"} <= {*result.stderr.splitlines()}


def test_a_check_that_breaks_is_told(run: Run, project: Path) -> None:
    """An adapter so strange that a check breaks on it has failed that check, and the others are still told."""
    run("adapter", "new", "fjord_e", "--folder", str(project))
    path = project / "adapters" / "fjord_e.py"
    text = path.read_text(encoding="utf-8").replace('Link(name="New note", url=', '("New note", ')
    path.write_text(text, encoding="utf-8")
    result = run("adapter", "check", "fjord_e", "--folder", str(project))
    assert result.exit_code == 1
    assert "wrong links_are_quoted: it breaks with AttributeError" in result.stdout
    assert "wrong results_are_of_the_right_types: create_links gives" in result.stdout


def test_new_takes_no_name_that_is_taken(run: Run, tmp_path: Path) -> None:
    """Two adapters of one name would hide each other."""
    result = run("adapter", "new", "hubspot", "--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "take another" in result.stderr
    assert not (tmp_path / "adapters").exists()


def test_new_overwrites_nothing(run: Run, project: Path) -> None:
    """An adapter that is there stays as it is."""
    run("adapter", "new", "fjord_c", "--folder", str(project))
    path = project / "adapters" / "fjord_c.py"
    path.write_text("# mine", encoding="utf-8")
    result = run("adapter", "new", "fjord_c", "--folder", str(project))
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert path.read_text(encoding="utf-8") == "# mine"


@pytest.mark.parametrize("name", ["Acme", "a", "my-crm", "../crm", "import", ""])
def test_a_bad_name_is_refused(run: Run, project: Path, name: str) -> None:
    """A name stands in files and databases, and is an identifier."""
    result = run("adapter", "new", name, "--folder", str(project))
    assert result.exit_code == 2
    assert list((project / "adapters").iterdir()) == []


def test_an_adapter_without_a_class_is_told(run: Run, project: Path) -> None:
    """Whoever checks an adapter without its test reads how to begin."""
    result = run("adapter", "check", "fjord_d", "--folder", str(project))
    assert result.exit_code == 2
    assert "m8crm adapter new fjord_d" in result.stderr


def test_what_is_recorded_holds_no_people(tmp_path: Path) -> None:
    """A recording has what the CRM answered, and no name, number, address, text or secret of it; the kit reads it."""
    answers = {"/v1/people": {"people": [ADA]}, "/v1/people/7": ADA, "/v1/people/7/notes": {"notes": [NOTE]}}
    with FaultServer(answers) as crm:
        kind = load(tmp_path, {'"https://api.acme.example/v1"': f'"{crm.url}/v1"'})
        settings = kind.adapter.settings_type(token=Secret("t0ken-of-a-customer"))
        recorded = record_lookup(kind.adapter(settings), "+46735551234", "SE")
    text = dump_exchanges(recorded.exchanges)
    assert recorded.failed == {}
    assert [word for word in PRIVATE if word in text] == []
    assert [each.request for each in recorded.exchanges] == [
        "GET /v1/people?phone=01740605",
        "GET /v1/people/7/notes?limit=10",
        "GET /v1/people/7",
        "GET /v1/people?limit=1",
    ]
    (tmp_path / "exchanges.json").write_text(text, encoding="utf-8")
    kept = load_exchanges(tmp_path / "exchanges.json")
    assert kept == recorded.exchanges
    person = kept[0].answer["people"][0]
    assert person["phone"] == "070-174 06 05"
    assert person["changed"] == ADA["changed"]
    assert re.fullmatch(r"\+46 \d \d{3} \d{3} \d{2}", person["mobile"])


def test_a_recording_tells_what_failed(tmp_path: Path) -> None:
    """A CRM that refuses is recorded as well, and told."""
    with FaultServer() as crm:
        crm.faults["/v1/people"] = "status/401"
        kind = load(tmp_path, {'"https://api.acme.example/v1"': f'"{crm.url}/v1"'})
        recorded = record_lookup(kind.adapter(kind.settings), "+46735551234", "SE")
    assert recorded.failed.keys() == {"find_contacts", "check"}
    assert {each.status for each in recorded.exchanges} == {401}


def test_a_database_has_nothing_to_record(run: Run, demo_folder: Path) -> None:
    """Only HTTP is recorded; a customer whose CRM is a database is told so, and no file is written."""
    result = run("adapter", "record", "nordlys", "+46701740605", "--into", str(demo_folder / "exchanges.json"))
    assert result.exit_code == 2
    assert "not asked by HTTP" in result.stderr
    assert not (demo_folder / "exchanges.json").exists()


def test_record_writes_a_file_of_a_customer_s_crm(run: Run, folder: Path) -> None:
    """`record` asks the customer's CRM with his own settings, and overwrites no earlier recording."""
    table = '[[crm]]\nadapter = "pipedrive"\ntoken = "t0ken-of-a-customer"\ncompany = "nobody"\n'
    (folder / "customers").mkdir(parents=True)
    (folder / "customers" / "acme.toml").write_text(CUSTOMER + table, encoding="utf-8")
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.get(re.compile("https://nobody.pipedrive.com/"), status=401, json={"error": "t0ken-of-a-customer"})
        result = run("adapter", "record", "acme", "+46735551234", "--into", str(folder / "kept.json"), "--json")
        again = run("adapter", "record", "acme", "+46735551234", "--into", str(folder / "kept.json"))
    assert result.exit_code == 1, result.stderr  # nobody was found
    assert json.loads(result.stdout)["exchanges"] > 0
    assert not json.loads(result.stdout)["is_found"]
    assert "CRMAuthError" in json.loads(result.stdout)["failed"]["find_contacts"]
    assert "t0ken-of-a-customer" not in (folder / "kept.json").read_text(encoding="utf-8")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize("command", ["record", "try"])
@pytest.mark.parametrize("number", ["", "hej", "302"])
def test_only_a_number_is_asked_for(run: Run, folder: Path, command: str, number: str) -> None:
    """What cannot be dialled is refused before the CRM is asked: an empty search would bring everybody."""
    table = '[[crm]]\nadapter = "pipedrive"\ntoken = "t0ken-of-a-customer"\ncompany = "nobody"\n'
    (folder / "customers").mkdir(parents=True)
    (folder / "customers" / "acme.toml").write_text(CUSTOMER + table, encoding="utf-8")
    with responses.RequestsMock():
        result = run("adapter", command, "acme", number)
    assert result.exit_code == 2
    assert "is none that can be dialled" in result.stderr


SEARCH = '        found = ctx.http.get("people"'
TICKS = "        while True: print('tick'), __import__('time').sleep(0.0001)"
CHECK = """import atexit, time
from middleware.cli import adapter, main
atexit.register(time.sleep, 0.2)  # whoever still prints has the time to
adapter.PATIENCE = 1.0
main()"""
FAULTS = {  # what an author writes by mistake, and what he is told of it
    'name = "fjord_f"': ("", 2, "has no conformance class of the adapter 'fjord_f': its class is of None"),
    "from __future__ import annotations": ("import nothing_like_that", 2, "cannot be loaded: ModuleNotFoundError"),
    SEARCH: (f"        raise SystemExit(3)\n{SEARCH}", 1, "it breaks with SystemExit"),
    f"{SEARCH}, params": (f"{TICKS}\n{SEARCH}, params", 1, "has not ended in 1 s"),
}


@pytest.mark.parametrize("wrong", FAULTS)
def test_check_outlives_an_adapter(run: Run, project: Path, wrong: str) -> None:
    """What cannot be loaded, what ends the process and what never comes back are told as such."""
    instead, status, words = FAULTS[wrong]
    run("adapter", "new", "fjord_f", "--folder", str(project))
    path = project / "adapters" / "fjord_f.py"
    text = path.read_text(encoding="utf-8")
    assert wrong in text
    path.write_text(text.replace(wrong, instead), encoding="utf-8")
    # in a process of its own: what hangs holds what its check has changed
    command = [sys.executable, "-c", CHECK, "adapter", "check", "fjord_f", "--folder", str(project)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50, cwd=project)
    assert (result.returncode, words in result.stdout + result.stderr) == (status, True), result
    assert "tick" not in result.stdout  # nor after the verdicts


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('name = "fjord_g"', "FjordGAdapter has no name"),
        ("label = ", "FjordGAdapter has no label"),
        ("settings_type = ", "FjordGAdapter has no settings_type"),
    ],
)
def test_an_incomplete_adapter_costs_no_other(run: Run, project: Path, line: str, words: str) -> None:
    """An adapter without what each must have is listed as broken, with what to write; the others are known."""
    run("adapter", "new", "fjord_g", "--folder", str(project))
    path = project / "adapters" / "fjord_g.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"\n +{line}.*", "", text), encoding="utf-8")
    registry._found.cache_clear()
    try:
        told = json.loads(run("adapters", "--json").stdout)
    finally:
        registry._found.cache_clear()
    assert told["broken"]["adapters.fjord_g"].startswith(words)
    assert {"sql", "hubspot"} < told["adapters"].keys()
