"""One file per migration, named by its number; the latest is ``HEAD`` of ``inbox/schema.py``."""
