"""m8crm: who is calling, and every finished call in the CRM, once."""

__version__ = "0.1.0"
