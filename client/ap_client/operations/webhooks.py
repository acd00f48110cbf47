"""Webhooks on their way: what Runyard tells beyond the protocol."""

from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import Call, Id, RequestOptions, body_of
from ap_client.models.webhook_delivery import WebhookDelivery
from ap_client.models.webhook_search_request import WebhookSearchRequest


def search_webhooks(
    webhook_search_request: WebhookSearchRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[list[WebhookDelivery]]:
    """The deliveries that match, newest first."""
    body = body_of(WebhookSearchRequest, webhook_search_request, "webhook_search_request")
    return Call("POST", "/webhooks/search", list[WebhookDelivery], options, body=body, idempotent=True)


def get_webhook(delivery_id: Id, **options: Unpack[RequestOptions]) -> Call[WebhookDelivery]:
    """One delivery, with what is posted. Raises NotFoundException when there is none."""
    return Call("GET", "/webhooks/{delivery_id}", WebhookDelivery, options, ids={"delivery_id": delivery_id})


def resend_webhook(delivery_id: Id, **options: Unpack[RequestOptions]) -> Call[WebhookDelivery]:
    """Send a delivery again, now, whatever became of it. Raises NotFoundException when there is none."""
    return Call("POST", "/webhooks/{delivery_id}/resend", WebhookDelivery, options, ids={"delivery_id": delivery_id})
