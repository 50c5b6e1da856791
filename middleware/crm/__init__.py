"""What an adapter author reads: the base class, the session that owns HTTP, and how adapters are found."""
