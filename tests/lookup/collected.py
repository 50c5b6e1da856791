"""What lookups leave to the garbage collector, counted in a process in which nothing else leaves anything."""

from __future__ import annotations

import gc
from pathlib import Path

from middleware.lookup.card import Hit, Miss
from middleware.model.activity import Task
from tests.lookup.zoo import NOW, Desk, Zoo, note, tenant_of


def count_collected(folder: Path, ends_well: bool) -> tuple[int, int]:
    """Return how many objects the collector finds after ten lookups, and after a cycle that is made on purpose."""
    desk = Desk(folder / "generations")
    crms = [Zoo(notes=lambda: [note(1)]), Zoo(tasks=lambda: [Task(timestamp=NOW)])]
    crms = crms if ends_well else [Zoo(contacts=list), Zoo(contacts=list)]
    desk.ask(tenant_of(*crms))

    def found(lookups: int) -> int:
        customers = [tenant_of(*crms, id=f"customer-{i}") for i in range(lookups)]
        gc.collect()
        gc.disable()
        for customer in customers:
            assert isinstance(desk.ask(customer), Hit if ends_well else Miss)
        if not lookups:
            cycle: list[object] = []
            cycle.append(cycle)
            del cycle
        count = gc.collect()
        gc.enable()
        return count

    told = found(lookups=10), found(lookups=0)
    desk.close()
    return told
