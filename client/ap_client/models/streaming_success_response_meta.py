from ap_client.model import Model, field


class StreamingSuccessResponseMeta(Model, open=True):
    """`applied_through_seq`: the last event that was applied before the answer."""

    applied_through_seq: int | None = field(default=None, alias="appliedThroughSeq", at_least=0)
