"""One file per sender, pure: from what came over the wire to events of the domain."""
