"""One file per CRM; README.rst has the recipe."""
