"""What SQLite's failures mean to the kernel."""

from pathlib import Path

import apsw

from backends.errors import StoreBusyError, StoreError, StoreFullError, StoreReadOnlyError


def store_error(exc: apsw.Error, path: Path) -> StoreError:
    """Give the store error that one of SQLite's stands for."""
    # A transaction that SQLite rolled back by itself hides its cause behind "no transaction".
    cause = exc.__context__ if isinstance(exc.__context__, apsw.Error) else exc
    name = path.name
    match cause:
        case apsw.FullError():
            return StoreFullError("the disk is full; free some space and try again")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return StoreReadOnlyError(
                f"the data directory or {name} in it cannot be written; give this user the right"
                " to write there, or set kernel.data_dir to another directory"
            )
        case apsw.NotADBError() | apsw.CorruptError():
            return StoreError(f"{name} is damaged; restore it from a backup or move it away")
        case apsw.InterruptError():
            return StoreError("the query took too long and was stopped; ask for less")
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusyError(f"{name} is locked by another program; try again")
        case _:
            return StoreError(f"the database failed ({type(cause).__name__})")
