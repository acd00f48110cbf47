"""Documents under a namespace and a key."""

from ap_client.aio.forms import Api, data, http_info, raw
from ap_client.operations import store


class StoreApi(Api):
    """Documents under a namespace and a key."""

    delete_item = data(store.delete_item)
    delete_item_with_http_info = http_info(store.delete_item)
    delete_item_without_preload_content = raw(store.delete_item)

    get_item = data(store.get_item)
    get_item_with_http_info = http_info(store.get_item)
    get_item_without_preload_content = raw(store.get_item)

    list_namespaces = data(store.list_namespaces)
    list_namespaces_with_http_info = http_info(store.list_namespaces)
    list_namespaces_without_preload_content = raw(store.list_namespaces)

    put_item = data(store.put_item)
    put_item_with_http_info = http_info(store.put_item)
    put_item_without_preload_content = raw(store.put_item)

    search_items = data(store.search_items)
    search_items_with_http_info = http_info(store.search_items)
    search_items_without_preload_content = raw(store.search_items)
