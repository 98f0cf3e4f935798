"""Numbered migrations, one list per component that keeps tables in the file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apsw

from backends.errors import StoreError


@dataclass(frozen=True, slots=True)
class Component:
    """Who owns some tables, and the SQL that made them, version by version.

    Attributes:
        name: Unique in the file.
        migrations: SQL scripts, or code where SQL does not do; script `i` leads from version `i`
            to `i + 1`. Never changed once released: a change of the schema is a new script.
    """

    name: str
    migrations: tuple[str | Callable[[apsw.Connection], None], ...]


def migrate(connection: apsw.Connection, components: Sequence[Component]) -> None:
    """Bring every component up to date, in one transaction.

    Raises:
        StoreError: The file was written by a newer version; it is left untouched.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS component"
            "(name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT"
        )
        for component in components:
            _migrate_one(connection, component)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _migrate_one(connection: apsw.Connection, component: Component) -> None:
    found = connection.execute(
        "SELECT version FROM component WHERE name = ?", (component.name,)
    ).fetchone()
    version = int(found[0]) if found else 0
    newest = len(component.migrations)
    if version > newest:
        raise StoreError(
            f"the data was written by a newer aios-mcp ({component.name} version {version}, this"
            f" one knows {newest}); upgrade aios-mcp, or set kernel.data_dir to another directory"
        )
    for script in component.migrations[version:]:
        if callable(script):
            script(connection)
        else:
            connection.execute(script)
    if version < newest:
        connection.execute(
            "INSERT INTO component VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET version = ?2",
            (component.name, newest),
        )
