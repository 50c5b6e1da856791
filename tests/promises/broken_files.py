"""P9: whatever becomes of a customer's file while the server runs, nobody's service ends.

The others notice nothing, he himself keeps his last good version, and ``m8crm check`` names his file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import string
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from time import monotonic, sleep
from unittest.mock import patch

from benchmarks.adapter import StubAdapter
from benchmarks.customers import add_customer, number_of
from benchmarks.servers import run_stub
from benchmarks.table import Figure, say
from middleware.errors import ConfigError
from middleware.tenants.config import load_tenant
from tests.promises import naive
from tests.promises.databases import new_folder
from tests.promises.installation import Installation
from tests.promises.machines import look_up

VICTIMS, ROUNDS = 200, 5
BYSTANDERS = ("b0", "b1", "b2")
SEEN_AFTER = 1.1  # seconds: a change is in force within one
HUGE = 3_000_000  # bytes

Mutation = Callable[[Path, Random], None]


@dataclass(slots=True)
class Harm:
    """What became of the service; outages by who suffered what."""

    files: int = 0
    broken: int = 0
    outages: Counter[str] = field(default_factory=Counter)
    untold: list[str] = field(default_factory=list)
    asked: int = 0


def measure(*, victims: int = VICTIMS, rounds: int = ROUNDS) -> Figure:
    """Mutate files at random while all customers are looked up; at the end restart with the broken files."""
    began = monotonic()
    harm = harass(victims, rounds)
    is_control_up = survives_plainly()
    return Figure(
        what=f"P9 outages while {harm.files:,} customers' files are mutated",
        figure=f"{harm.outages.total()} of {harm.asked:,} lookups; {harm.broken:,} files were broken, of which"
        f" m8crm check does not tell {len(harm.untold)}; {monotonic() - began:.0f} s",
        goal="0, all told",
        reached=not harm.outages and not harm.untold,
        control=f"files read at the start, then SIGHUP: the server is {'up' if is_control_up else 'down'} after 1 file",
        control_reached=is_control_up,
        samples={"outages": [harm.outages.total()], "untold": [len(harm.untold)]},
    )


def harass(victims: int, rounds: int) -> Harm:
    """Mutate every victim's file in every round; then restart while all of them are broken."""
    harm, random = Harm(), Random(9)
    kinds = cycle(MUTATIONS)
    with new_folder() as folder, run_stub(core=None) as stub:
        names = [f"v{i}" for i in range(victims)]
        for name in (*names, *BYSTANDERS):
            add_customer(folder, name, stub.url(name), cache_hit="0s", cache_revalidate="0s", cache_stale="0s")
        with Installation(folder, workers=0, web_workers=1) as installation, watched(installation.port, harm):
            good = {name: (folder / "customers" / f"{name}.toml").read_bytes() for name in names}
            for turn in range(rounds):
                restore(folder, good)
                sleep(SEEN_AFTER)
                ask_all(installation.port, names, harm)
                for name in names:
                    next(kinds)(folder / "customers" / f"{name}.toml", random)
                broken = {name for name in names if is_broken(folder / "customers" / f"{name}.toml")}
                harm.files, harm.broken = harm.files + len(names), harm.broken + len(broken)
                sleep(SEEN_AFTER)
                ask_all(installation.port, broken, harm)
                harm.untold += sorted(broken - told(installation) - gone(folder, names))
                say(f"round {turn + 1} of {rounds}: {len(broken)} broken, outages {dict(harm.outages)}")
            os.kill(installation.processes["web"].pid, signal.SIGHUP)
            sleep(2 * SEEN_AFTER)  # the new workers have never seen a good version
            if not installation.answers():
                harm.outages["the server has ended"] += 1
    return harm


def ask_all(port: int, names: Iterable[str], harm: Harm) -> None:
    """Look up for each of the customers."""
    for name in names:
        status = look_up(port, name, number_of(7))
        harm.asked += 1
        if status != 200:
            harm.outages[f"a victim hears {status}"] += 1


@contextmanager
def watched(port: int, harm: Harm) -> Iterator[None]:
    """Look up for those whose files nobody touches, all the time."""
    stop = threading.Event()
    answers: Counter[int] = Counter()

    def run() -> None:
        for name in cycle(BYSTANDERS):
            if stop.wait(0.02):
                return
            answers[look_up(port, name, number_of(8))] += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        harm.asked += answers.total()
        harm.outages += Counter({f"another hears {status}": n for status, n in answers.items() if status != 200})


def is_broken(path: Path) -> bool:
    """Whether the customer cannot be read now; what is still valid, or valid again, may mean anything."""
    try:
        with patch("middleware.tenants.config.load_adapters", lambda: {"stub": StubAdapter}):  # as the server has it
            load_tenant(path)
    except ConfigError:
        return True
    except Exception as error:  # what reads it must know what is wrong
        say(f"{path.name} breaks what reads it: {error!r}")
        return True
    return False


def told(installation: Installation) -> set[str]:
    """Return the customers of whom ``m8crm check`` says that something is wrong."""
    findings = json.loads(installation.ask("check", "--json"))["findings"]
    return {finding["where"].partition(".")[0] for finding in findings if not finding["ok"]}


def gone(folder: Path, names: list[str]) -> set[str]:
    """Return the customers without a file, whom nobody can miss."""
    return {name for name in names if not os.path.lexists(folder / "customers" / f"{name}.toml")}


def restore(folder: Path, good: dict[str, bytes]) -> None:
    """Put the good files back, as an editor does."""
    for path in (folder / "customers").iterdir():
        if path.stem not in BYSTANDERS:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, raw in good.items():
        (folder / "customers" / f"{name}.toml").write_bytes(raw)


def survives_plainly() -> bool:
    """Whether a server that reads all files at its start answers after one is broken and it gets SIGHUP."""
    with new_folder() as folder:
        add_customer(folder, "b0", "http://127.0.0.1:9")
        add_customer(folder, "v0", "http://127.0.0.1:9")
        environ = {"NAIVE_CUSTOMERS": str(folder / "customers")}
        with Installation(folder, workers=0, environ=environ, web=naive.command(2)) as installation:
            truncate(folder / "customers" / "v0.toml", Random(1))
            web = installation.processes["web"]
            assert isinstance(web, subprocess.Popen)
            web.send_signal(signal.SIGHUP)
            with suppress(subprocess.TimeoutExpired):
                web.wait(10)
            return web.poll() is None


def truncate(path: Path, random: Random) -> None:
    """Leave a part of it: half-written."""
    raw = path.read_bytes()
    path.write_bytes(raw[: random.randrange(len(raw) - 1)])


def flip(path: Path, random: Random) -> None:
    """Change some bits."""
    raw = bytearray(path.read_bytes())
    for _ in range(random.randint(1, 8)):
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    path.write_bytes(raw)


def duplicate(path: Path, random: Random) -> None:
    """Have a line twice."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines.insert(random.randrange(len(lines)), random.choice(lines))
    path.write_text("\n".join(lines), encoding="utf-8")


def retype(path: Path, random: Random) -> None:
    """Give a key a value of another type."""
    lines = path.read_text(encoding="utf-8").splitlines()
    place = random.choice([i for i, line in enumerate(lines) if " = " in line])
    key = lines[place].partition(" = ")[0]
    values = ("true", "-1", "1e999", "[]", "{}", '[[["x"]]]', "2026-03-01", '"\\u0000"', "9" * 5000, '"http://["')
    lines[place] = f"{key} = {random.choice(values)}"
    path.write_text("\n".join(lines), encoding="utf-8")


def invent(path: Path, random: Random) -> None:
    """Add what nobody knows."""
    word = "".join(random.choices(string.ascii_lowercase, k=8))
    path.write_text(f"{word} = {{ env = 'NOWHERE' }}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")


def swell(path: Path, random: Random) -> None:
    """Make it huge, or nest it deeply."""
    raw = path.read_bytes()
    path.write_bytes(random.choice([b"# " + b"x" * HUGE + b"\n" + raw, b"x = " + b"[" * 100_000, raw + b"\n" * HUGE]))


def garble(path: Path, random: Random) -> None:
    """Write it in another encoding, or random bytes."""
    text = path.read_text(encoding="utf-8")
    path.write_bytes(random.choice([text.encode("utf-16"), f"# {text}\xff".encode("latin-1"), random.randbytes(500)]))


def empty(path: Path, _random: Random) -> None:
    """Leave nothing in it."""
    path.write_bytes(b"")


def delete(path: Path, _random: Random) -> None:
    """Take it away for a moment."""
    path.unlink()


def replace(path: Path, random: Random) -> None:
    """Put something that is no file, or that nobody may read, in its place."""
    path.unlink()
    if random.random() < 0.5:
        path.mkdir()
    else:
        path.symlink_to(path.name)


def crowd(path: Path, random: Random) -> None:
    """Lay a second file of the customer beside it, and break the first."""
    shutil.copy(path, path.with_name(f"{path.stem.upper()}.toml"))
    shutil.copy(path, path.with_name(f"{path.stem} (copy).toml"))
    truncate(path, random)


MUTATIONS: tuple[Mutation, ...] = (
    truncate,
    flip,
    duplicate,
    retype,
    invent,
    swell,
    garble,
    empty,
    delete,
    replace,
    crowd,
)
