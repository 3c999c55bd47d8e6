"""What all widgets share: a piece, the session that links them, and the main thread."""
