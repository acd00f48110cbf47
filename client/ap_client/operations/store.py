"""Documents under a namespace and a key."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from ap_client.call import Call, RequestOptions, body_of
from ap_client.models.item import Item
from ap_client.models.search_items_response import SearchItemsResponse
from ap_client.models.store_delete_request import StoreDeleteRequest
from ap_client.models.store_list_namespaces_request import StoreListNamespacesRequest
from ap_client.models.store_put_request import StorePutRequest
from ap_client.models.store_search_request import StoreSearchRequest


def put_item(store_put_request: StorePutRequest | Mapping[str, Any], **options: Unpack[RequestOptions]) -> Call[None]:
    """Put an item; it replaces the one under the same namespace and key."""
    body = body_of(StorePutRequest, store_put_request, "store_put_request")
    return Call("PUT", "/store/items", type(None), options, body=body)


def get_item(key: str, namespace: Sequence[str] | None = None, **options: Unpack[RequestOptions]) -> Call[Item]:
    """One item. Raises NotFoundException when there is none."""
    labels = [namespace] if isinstance(namespace, str) else namespace
    query = {"key": key, "namespace": None if labels is None else list(labels)}
    return Call("GET", "/store/items", Item, options, query=query)


def delete_item(
    store_delete_request: StoreDeleteRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[None]:
    """Delete an item. Raises NotFoundException when there is none."""
    body = body_of(StoreDeleteRequest, store_delete_request, "store_delete_request")
    return Call("DELETE", "/store/items", type(None), options, body=body)


def search_items(
    store_search_request: StoreSearchRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[SearchItemsResponse]:
    """The items below a namespace that match."""
    body = body_of(StoreSearchRequest, store_search_request, "store_search_request")
    return Call("POST", "/store/items/search", SearchItemsResponse, options, body=body, idempotent=True)


def list_namespaces(
    store_list_namespaces_request: StoreListNamespacesRequest | Mapping[str, Any],
    **options: Unpack[RequestOptions],
) -> Call[list[list[str]]]:
    """The namespaces that match."""
    body = body_of(StoreListNamespacesRequest, store_list_namespaces_request, "store_list_namespaces_request")
    return Call("POST", "/store/namespaces", list[list[str]], options, body=body, idempotent=True)
