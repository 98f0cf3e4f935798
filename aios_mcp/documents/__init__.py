"""Documents as memories: files found, cut into chunks, and kept in step with what is stored."""
