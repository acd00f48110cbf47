from ap_client.conversion import id_text
from ap_client.model import Model, field


class WebhookSearchRequest(Model):
    """Which webhook deliveries to list: `pending`, `delivered` or `parked` ones. The server's `limit` is 10 unless
    given."""

    status: str | None = None
    run_id: str | None = field(default=None, converter=id_text)
    limit: int | None = field(default=None, at_least=1, at_most=1000)
    offset: int | None = field(default=None, at_least=0)
