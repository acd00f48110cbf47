from ap_client.model import Model


class StoreListNamespacesRequest(Model):
    """Which namespaces to list. The server's `limit` is 100 unless given."""

    prefix: list[str] | None = None
    suffix: list[str] | None = None
    max_depth: int | None = None
    limit: int | None = None
    offset: int | None = None
