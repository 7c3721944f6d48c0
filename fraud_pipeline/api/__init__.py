"""REST API: score transactions, read and work alerts."""
