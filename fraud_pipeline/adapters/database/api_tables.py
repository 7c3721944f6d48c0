"""Keys of API clients and answers kept for repeated requests, as SQLAlchemy Core sees them."""
