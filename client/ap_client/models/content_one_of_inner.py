from ap_client.wrapper import Wrapper


class ContentOneOfInner(Wrapper):
    """One block of a message's content, in a box. The plain block is accepted wherever this is."""
