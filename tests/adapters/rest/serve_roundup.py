"""A real Roundup tracker of the template "classic" with two people; a program of its own.

``python serve_roundup.py FOLDER`` makes the tracker, prints the port, and serves until it is ended.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from werkzeug.serving import make_server

PASSWORD = "hunter2-hunter2"
PEOPLE = {
    "ada": {
        "realname": "Ada Webb",
        "phone": "070-174 06 05",
        "organisation": "Nordlys AB",
        "address": "ada@nordlys.se",
    },
    "bo": {"realname": "Bo Ek", "phone": "+46 8 123 456 78", "address": "bo@nordlys.se"},
}


def main(folder: Path) -> None:
    """Make the tracker and serve it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, lambda *_: [])  # first, since the tracker knows its own address
    home = folder / "tracker"
    admin = [str(Path(sys.executable).with_name("roundup-admin")), "-i", str(home)]
    web = f"http://127.0.0.1:{server.server_port}/"
    options = f"tracker_web={web},mail_domain=nordlys.example,mail_host=localhost,web_api_failed_login_limit=0"
    subprocess.run([*admin, "install", "classic", "sqlite", options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*admin, "initialise", PASSWORD], check=True, stdout=subprocess.DEVNULL)
    _fill(home)
    from roundup.cgi.wsgi_handler import RequestDispatcher

    server.app = RequestDispatcher(str(home))
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


def _fill(home: Path) -> None:
    import roundup.instance

    database = roundup.instance.open(str(home)).open("admin")
    for name, person in PEOPLE.items():
        database.user.create(username=name, roles="User", **person)
    database.commit()
    database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
