"""Webhooks on their way: list, look at, send again. An extension of the protocol."""

from __future__ import annotations

from msgspec import UNSET

from runyard.api import answers, wire
from runyard.api.call import Call
from runyard.api.operation import operation
from runyard.api.posted import posted
from runyard.api.validation import canonical_uuid
from runyard.deliveries import DeliveryFilter


@operation("Webhooks", needs="read", body=wire.WEBHOOK_SEARCH, answer=list[answers.WebhookDelivery])
async def search_webhooks(call: Call) -> None:
    """Search Webhooks

    Lists what was told to webhooks, or is to be, newest first. `parked` is what was given up, until it is sent again.
    """
    body = await call.body(wire.WEBHOOK_SEARCH)
    found = await call.api.storage.search_deliveries(
        call.owner,
        DeliveryFilter(
            status=None if body.status is UNSET else body.status,
            run_id=None if body.run_id is UNSET else canonical_uuid("run_id", body.run_id),
            limit=body.limit,
            offset=body.offset,
        ),
    )
    await call.answer(answers.array(map(answers.delivery, found)))


@operation("Webhooks", needs="read", answer=answers.WebhookDelivery, errors=(404,))
async def get_webhook(call: Call) -> None:
    """Get Webhook

    A delivery, with what is posted.
    """
    delivery = await call.api.storage.delivery(call.owner, call.params["delivery_id"])
    notice = await call.api.storage.notice(call.owner, delivery.delivery_id)
    await call.answer(answers.delivery(delivery, posted(notice, delivery.attempted_at)))


@operation("Webhooks", needs="write", answer=answers.WebhookDelivery, errors=(404,))
async def resend_webhook(call: Call) -> None:
    """Resend Webhook

    Sends a delivery now, with the id it had, whether it was parked, has arrived, or waits for its next try; its tries
    begin anew. One that is being sent at this moment is left alone.
    """
    now = call.api.verbs.clock.now()
    delivery = await call.api.storage.resend_delivery(call.owner, call.params["delivery_id"], now)
    await call.answer(answers.delivery(delivery))
