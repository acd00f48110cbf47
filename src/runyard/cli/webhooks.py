"""`runyard webhooks`: what was told to whom, what could not be, and how to send it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runyard.cli.connection import shortened, with_server
from runyard.cli.groups import ListingGroup
from runyard.cli.show import ago, plain, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ap_client import ApiClient

EPILOG = """\b
Examples:
  runyard webhooks                            the newest deliveries
  runyard webhooks --status parked            those that were given up
  runyard webhooks show msg_0198...           all about one, with what is posted
  runyard webhooks resend msg_0198...         send it again, now
  runyard webhooks resend --all-parked        all that were given up
"""
PAGE = 100


@click.group("webhooks", cls=ListingGroup, epilog=EPILOG)
def command() -> None:
    """List, show and re-send what webhooks are told. Without a command it lists."""


@command.command("list")
@click.option("--status", type=click.Choice(["pending", "delivered", "parked"]))
@click.option("--run", "run_id", metavar="ID", help="Only the delivery of this run.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--offset", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON list.")
@with_server
def list_webhooks(client: ApiClient, as_json: bool, **wanted: Any) -> None:
    """List deliveries, newest first."""
    from ap_client import WebhooksApi

    given = {name: value for name, value in wanted.items() if value is not None}
    deliveries = plain(WebhooksApi(client).search_webhooks(given))
    if as_json:
        print_json(deliveries)
        return
    rows = [
        (
            each["delivery_id"],
            each["status"],
            str(each["attempts"]),
            ago(each["created_at"]),
            shortened(each["url"]),
            each.get("last_error", ""),
        )
        for each in deliveries
    ]
    columns = ("delivery", "status", "tries", "created", "url", "last error")
    print_table(columns, rows, "no webhooks; a run that is created with one is told to it when it ends")


@command.command("show")
@click.argument("delivery_id")
@click.option("--json", "as_json", is_flag=True, help="The delivery as one JSON object.")
@with_server
def show_webhook(client: ApiClient, delivery_id: str, as_json: bool) -> None:
    """Show all about one delivery, with what is posted."""
    from ap_client import WebhooksApi

    delivery = plain(WebhooksApi(client).get_webhook(delivery_id))
    if as_json:
        print_json(delivery)
    else:
        print_facts(delivery)


@command.command("resend")
@click.argument("delivery_ids", nargs=-1, metavar="[DELIVERY_ID]...")
@click.option("--all-parked", is_flag=True, help="All that were given up, instead of those that are named.")
@click.option("--json", "as_json", is_flag=True, help="The deliveries as one JSON list.")
@with_server
def resend_webhooks(client: ApiClient, delivery_ids: tuple[str, ...], all_parked: bool, as_json: bool) -> None:
    """Send deliveries again, now, each with the id it had. The time in which they are tried begins anew."""
    from ap_client import WebhooksApi

    if all_parked == bool(delivery_ids):
        raise click.UsageError("name deliveries, or say --all-parked")
    webhooks = WebhooksApi(client)
    if all_parked:
        delivery_ids = tuple(_parked(webhooks))
    sent = [plain(webhooks.resend_webhook(delivery_id)) for delivery_id in delivery_ids]
    if as_json:
        print_json(sent)
        return
    for each in sent:
        click.echo(f"{each['delivery_id']} is sent again to {shortened(each['url'])}", err=True)
    if not sent:
        click.echo("nothing is parked", err=True)


def _parked(webhooks: Any) -> list[str]:
    """All ids before the first is sent again: a list that shrinks while it is paged through has gaps."""
    found: list[str] = []
    while True:
        page = webhooks.search_webhooks({"status": "parked", "limit": PAGE, "offset": len(found)})
        found += [delivery.delivery_id for delivery in page]
        if len(page) < PAGE:
            return found
