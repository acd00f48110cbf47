from ap_client.model import Model
from ap_client.models.item import Item


class SearchItemsResponse(Model, open=True):
    """The items that a search found."""

    items: list[Item]
