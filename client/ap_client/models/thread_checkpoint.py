from ap_client.conversion import id_text
from ap_client.model import Model, field


class ThreadCheckpoint(Model, open=True):
    """Names one saved state of a thread."""

    checkpoint_id: str = field(converter=id_text)
