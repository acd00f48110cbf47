from ap_client.wrapper import Wrapper


class Input(Wrapper):
    """The input of an agent, in a box. The plain value is accepted wherever this is."""
