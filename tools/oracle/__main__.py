"""`make oracle`: compare with what others have written.

Without arguments LangGraph's own tests of its engine run with our saver plugged in. With documents of the protocol,
calls of our client are compared with those of clients generated from them (this needs Java).
"""

from __future__ import annotations

import sys

from tools.oracle import generated, pregel

if __name__ == "__main__":
    sys.exit(pregel.main(sys.argv[2:]) if sys.argv[1:2] in ([], ["pregel"]) else generated.main())
