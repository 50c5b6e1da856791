"""A real Tryton with two parties and a key for its REST interface; a program, since its pool is a whole process's.

``python serve_tryton.py FOLDER`` makes the database, prints the port, and serves until it is ended.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

KEY = "key-of-the-test"
PARTIES = {
    "Ada Webb": {"mobile": "+46 70 174 06 05", "phone": "+46 8 465 004 12", "email": "ada.webb@nordlys.example"},
    "Bo Ek": {"phone": "+46 8 123 456 78"},
}


def main(folder: Path) -> None:
    """Make the database and serve it."""
    configuration, password = folder / "trytond.conf", folder / "password"
    configuration.write_text(f"[database]\nuri = sqlite://\npath = {folder}\n", encoding="utf-8")
    password.write_text("hunter2-hunter2", encoding="utf-8")
    (folder / "crm.sqlite").touch()
    os.environ |= {"TRYTOND_CONFIG": str(configuration), "TRYTONPASSFILE": str(password)}
    admin = str(Path(sys.executable).with_name("trytond-admin"))
    made = [
        admin,
        "-c",
        str(configuration),
        "-d",
        "crm",
        "--all",
        "--activate-dependencies",
        "-u",
        "party",
        "--email",
        "a@nordlys.example",
    ]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    from trytond.application import app
    from trytond.pool import Pool

    pool = Pool("crm")
    pool.init()
    _fill(pool)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


def _fill(pool: Any) -> None:
    from trytond.transaction import Transaction

    with Transaction().start("crm", 1):
        for name, ways in PARTIES.items():
            mechanisms = [{"type": kind, "value": value} for kind, value in ways.items()]
            pool.get("party.party").create([{"name": name, "contact_mechanisms": [("create", mechanisms)]}])
        (user,) = pool.get("res.user").search([("login", "=", "admin")])
        application = {"key": KEY, "user": user.id, "application": "rest", "state": "validated"}
        pool.get("res.user.application").create([application])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
