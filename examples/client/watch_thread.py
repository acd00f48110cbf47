"""Watch a team of agents at work, and answer what an agent asks, over one connection.

Start a server with `runyard serve examples/`, then run this file. `RUNYARD_URL` and `RUNYARD_API_KEY` say where the
server is and whom to call as, where it is not the one on this machine.
"""

import sys
from pathlib import Path

from ap_client import Runyard

TEXTS = str(Path(__file__).resolve().parent.parent / "texts")


def main() -> None:
    with Runyard() as ry:
        with ry.stream(agent_id="research_team") as stream:
            stream.start({"question": "How many bees live in a hive in winter?", "folder": TEXTS})
            tools = stream.tools()
            for message in stream.messages():
                print(f"{message.namespace[0].partition(':')[0] if message.namespace else 'lead'}: ", end="")
                for piece in message:
                    sys.stdout.write(piece)
                print()
            called = [event.tool_name for event in tools if event.event == "tool-started"]
            print("tools:", ", ".join(sorted(filter(None, called))))

        with ry.stream(agent_id="refund") as stream:
            stream.start({"order": "A-1002", "returned": "2025-03-20"})
            for _ in stream.inputs():
                if stream.questions:
                    break
            (question,) = stream.questions
            print("it asks:", question.payload["question"])
            question.answer("approve")
            for event in stream.lifecycle():
                if event.event == "completed":
                    break
            print("refund:", stream.state().values["refund"])


if __name__ == "__main__":
    main()
