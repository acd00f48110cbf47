from ap_client.wrapper import Wrapper


class StreamingChannel(Wrapper):
    """The name of a channel, in a box. The plain name is accepted wherever this is."""
