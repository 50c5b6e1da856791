"""OAuth2 tokens of the customers' CRMs: given by a person once, kept encrypted, renewed by one process at a time."""
