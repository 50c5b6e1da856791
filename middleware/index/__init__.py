"""The number index: contacts of a CRM, mirrored, so that a number is found without asking it."""
