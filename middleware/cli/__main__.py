"""``python -m middleware.cli`` is ``m8crm``."""

from middleware.cli import main

main(prog_name="m8crm")
