from ap_client.model import Model, field


class AgentCapabilities(Model, open=True):
    """The protocol features that an agent supports; custom ones have reverse-domain names."""

    ap_io_messages: bool | None = field(default=None, alias="ap.io.messages")
    ap_io_streaming: bool | None = field(default=None, alias="ap.io.streaming")
