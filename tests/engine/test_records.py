"""What is kept of an attempt's calls: enough to do none of them again, and no more."""

from __future__ import annotations

from live_server import Starter, play

from runyard import Context, agent

EMITS = 3000


@agent
async def chatter(ctx: Context) -> str:
    for number in range(EMITS):
        await ctx.emit(number, name="n" if number % 2 else None)
    answer = await ctx.interrupt("go on?")
    await ctx.emit("after")
    return answer


def test_emits_leave_a_record_a_commit_and_name_and_are_not_shown_again(server: Starter) -> None:
    async def story() -> None:
        async with server(chatter) as s:
            thread = await s.thread()
            asked = (await s.post("/runs/wait", {"thread_id": thread})).json()
            records = await s.storage.records(asked["run"]["run_id"])
            emits = [record for record in records if record.kind == "emit"]
            assert {name: max(r.nth for r in emits if r.name == name) for name in ("", "n")} == {
                "": EMITS // 2,
                "n": EMITS // 2,
            }
            assert len(emits) < EMITS // 10
            wish = {"thread_id": thread, "command": {"resume": "yes"}, "stream_mode": "custom"}
            text = (await s.post("/runs/stream", wish)).text
            assert text.count("event: custom") == 1
            assert '"payload":"after"' in text

    play(story())
