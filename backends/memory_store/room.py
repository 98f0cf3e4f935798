"""How much a partition may hold, on whichever database it stands."""

from backends.errors import StoreFullError
from backends.memory_store.additions import PlacedDraft
from backends.memory_store.schema import ROW_OVERHEAD_BYTES


def check_room(addition: PlacedDraft, *, rows: int, size_bytes: int) -> None:
    """Refuse an addition whose partition holds so many rows, and so many bytes with it.

    Raises:
        StoreFullError: It would be too much.
    """
    if rows + 1 > addition.max_rows:
        raise StoreFullError(
            f"all {addition.max_rows} rows of this memory are taken, older versions included;"
            " forget some memories first"
        )
    wanted = size_bytes + (rows + 1) * ROW_OVERHEAD_BYTES
    if wanted > addition.max_bytes:
        raise StoreFullError(
            f"this memory may hold {addition.max_bytes} bytes and would need {wanted}; forget some"
            " memories first, or add a shorter one"
        )
