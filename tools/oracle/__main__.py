"""`make oracle`: compare with what others have written.

Without arguments LangGraph's own tests of its engine run with our saver plugged in; with `dialect` its SDKs, and the
Python one's integration tests, against a server of ours; with `beside` the same requests go to the vendor's development
server too, and what differs is printed. With documents of the protocol, calls of our client are
compared with those of clients generated from them (this needs Java); with that of the streaming protocol (a .cddl
file), what our server tells is held against it.
"""

from __future__ import annotations

import sys

from tools.oracle import dialect, frames, generated, pregel
from tools.oracle.beside import main as beside

if __name__ == "__main__":
    if any(argument.endswith(".cddl") for argument in sys.argv[1:]):
        sys.exit(frames.main(sys.argv[1:]))
    if sys.argv[1:2] == ["dialect"]:
        sys.exit(dialect.main(sys.argv[2:]))
    if sys.argv[1:2] == ["beside"]:
        sys.exit(beside.main(sys.argv[2:]))
    sys.exit(pregel.main(sys.argv[2:]) if sys.argv[1:2] in ([], ["pregel"]) else generated.main())
