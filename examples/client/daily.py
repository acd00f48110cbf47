"""Use the example agents from a script: watch a run, answer a question, keep something.

Start a server with `runyard serve examples/`, then run this file. `RUNYARD_URL` and `RUNYARD_API_KEY` say where the
server is and whom to call as, where it is not the one on this machine.
"""

import sys

from ap_client import RunAsks, RunFailed, Runyard


def main() -> None:
    with Runyard() as ry:
        print("agents:", ", ".join(sorted(agent.agent_id for agent in ry.agents())))

        job = ry.run("long_job", {"items": 3, "seconds_per_item": 0.0})
        for event in ry.watch(job, sys.stdout):
            if event.event == "end":
                print("the last event was number", event.id)
        print("result:", job.result(timeout=60))

        refund = ry.run("refund", {"order": "A-1002", "returned": "2025-03-20"}, thread=ry.thread())
        try:
            decided = refund.result(timeout=60)
        except RunAsks as asked:
            print("it asks:", asked.questions[0]["value"]["question"])
            decided = refund.answer("approve").result(timeout=60)
        print("refund:", decided["refund"])
        ry.store.put(["daily"], "last refund", decided["refund"])
        print("kept:", ry.store.get(["daily"], "last refund"))

        try:
            ry.run("refund", {"order": "B-1"}).result(timeout=60)
        except RunFailed as failed:
            print("refused:", failed.code)


if __name__ == "__main__":
    main()
