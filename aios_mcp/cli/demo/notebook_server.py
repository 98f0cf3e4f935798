"""A small downstream MCP server for the tour: a notebook. Started as a program of its own."""

from mcp.server import MCPServer

_NOTES = {
    "garden": "The roses need water on Monday. The gate sticks.",
    "meeting": "The launch was moved to Friday. Omar writes the report.",
}


def build() -> MCPServer[object]:
    """Give a notebook with two notes in it."""
    server: MCPServer[object] = MCPServer("notebook", log_level="WARNING")
    notes = dict(_NOTES)

    @server.tool(description="List the titles of all notes")
    async def list_notes() -> list[str]:
        return sorted(notes)

    @server.tool(description="Read a note by its title")
    async def read_note(title: str) -> str:
        return notes.get(title, f"There is no note {title!r}.")

    @server.tool(description="Write a note under a title")
    async def write_note(title: str, text: str) -> str:
        notes[title] = text
        return f"Written under {title!r}."

    @server.tool(description="Delete a note by its title")
    async def delete_note(title: str) -> str:
        return "Deleted." if notes.pop(title, None) else f"There is no note {title!r}."

    return server


if __name__ == "__main__":
    build().run("stdio")
