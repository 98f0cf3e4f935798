"""Taking what was deleted out of the log too; in the database itself SQLite overwrites it."""

import logging
from contextlib import closing
from pathlib import Path

import apsw

from backends.database.connections import open_writer

_PATIENCE_MILLISECONDS = 1000

logger = logging.getLogger(__name__)


def scrub(path: Path) -> bool:
    """Move all commits into the database and empty its log, where erased bytes still stand.

    Gives False where others kept the log in use, or it failed; the next scrub will do it.
    """
    try:
        with closing(open_writer(path)) as connection:
            connection.set_busy_timeout(_PATIENCE_MILLISECONDS)
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    except apsw.Error:
        logger.warning("the log could not be emptied; tried again later", exc_info=True)
        return False
    return True
