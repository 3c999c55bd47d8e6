"""Events themselves: when they happened, as rows of a table, and questions about them."""
