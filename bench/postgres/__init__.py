"""Runyard on PostgreSQL: one server, and API servers with workers, beside a bare store on the same PostgreSQL."""
