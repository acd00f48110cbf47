"""Webhooks on their way: what Runyard tells beyond the protocol."""

from ap_client.aio.forms import Api, data, http_info, raw
from ap_client.operations import webhooks


class WebhooksApi(Api):
    """Webhooks on their way: what Runyard tells beyond the protocol."""

    get_webhook = data(webhooks.get_webhook)
    get_webhook_with_http_info = http_info(webhooks.get_webhook)
    get_webhook_without_preload_content = raw(webhooks.get_webhook)

    resend_webhook = data(webhooks.resend_webhook)
    resend_webhook_with_http_info = http_info(webhooks.resend_webhook)
    resend_webhook_without_preload_content = raw(webhooks.resend_webhook)

    search_webhooks = data(webhooks.search_webhooks)
    search_webhooks_with_http_info = http_info(webhooks.search_webhooks)
    search_webhooks_without_preload_content = raw(webhooks.search_webhooks)
