"""Files of a finished run that are replaced together, or not at all.

The new ones are written beside the old, the new manifest last: that is the commit. Then each goes
to its place, and the manifest again last. A process that dies before the commit has changed
nothing; after it, the next command that works on the OUTPUT goes on where it was.
"""

from pipelines.runs import layout
from pipelines.runs.store import Store


def staged(store: Store) -> Store:
    """Where new files of a finished run are written, by the names that they are to have."""
    return store.within(layout.AMENDED)


def settle(store: Store) -> None:
    """Carry a committed replacement to its end, and drop one that never was committed.

    Args:
        store: OUTPUT, locked.

    Raises:
        OSError: a file cannot be moved; the next call goes on.
    """
    new = staged(store)
    if new.exists(layout.MANIFEST):
        inside = [name.removeprefix(f"{layout.AMENDED}/") for name in store.walk(layout.AMENDED)]
        for name in filter(layout.is_ours, inside):
            if name != layout.MANIFEST:
                store.move(f"{layout.AMENDED}/{name}", name)
        store.write(layout.STALE_REPORT, b"")
        store.remove(layout.REPORT_CHECKSUMS)  # the report tells of what was there before
        store.move(f"{layout.AMENDED}/{layout.MANIFEST}", layout.MANIFEST)
    elif not new.exists():
        return
    store.remove(layout.AMENDED)
