"""Programs that make what the project ships; nothing here is needed to run it."""
