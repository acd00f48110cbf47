"""Several servers and workers of one PostgreSQL database, and what is done to them and to it."""
