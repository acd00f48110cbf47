from ap_client.model import Model


class StoreDeleteRequest(Model):
    """Which item to delete. Without a namespace it is the root's."""

    key: str
    namespace: list[str] | None = None
