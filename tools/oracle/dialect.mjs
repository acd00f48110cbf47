// The JavaScript SDK of LangGraph against a server of the graphs that come with the Python SDK: node dialect.mjs URL
import assert from "node:assert/strict";
import { Client } from "@langchain/langgraph-sdk";

globalThis.WebSocket ??= (await import("ws")).default; // Node has one of its own from 22 on

const apiUrl = process.argv[2];
const client = new Client({ apiUrl, apiKey: null });
const FRESH = { messages: [], value: "init", items: [] };
const SEARCH = { messages: [{ type: "human", content: "search for v3" }] };

async function collected(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const cases = {
  async "runs on threads and on none"() {
    const thread = await client.threads.create({ metadata: { suite: "javascript" } });
    let created;
    const values = await client.runs.wait(thread.thread_id, "tools_agent", {
      input: SEARCH, onRunCreated: (run) => (created = run),
    });
    assert.equal(values.messages.at(-1).content, "done.");
    assert.equal(created.thread_id, thread.thread_id);
    assert.equal((await client.runs.get(thread.thread_id, created.run_id)).status, "success");
    assert.equal((await client.runs.list(thread.thread_id, { select: ["run_id"] })).length, 1);
    assert.equal((await client.runs.wait(null, "tools_agent", { input: SEARCH })).messages.length, 4);
    const batch = await client.runs.createBatch([{ assistantId: "tools_agent", input: SEARCH }]);
    assert.equal((await client.runs.join(batch[0].thread_id, batch[0].run_id)).messages.length, 4);
    await assert.rejects(client.runs.create(thread.thread_id, "nobody", { input: {} }), /422/);
    const found = await client.threads.search({ metadata: { suite: "javascript", graph_id: "tools_agent" } });
    assert.ok(found.some((one) => one.thread_id === thread.thread_id));
    await client.threads.delete(thread.thread_id);
  },

  async "streams, and resumed ones"() {
    const thread = await client.threads.create();
    let run;
    const parts = await collected(client.runs.stream(thread.thread_id, "agent", {
      input: FRESH, streamMode: ["values", "updates", "messages-tuple", "custom"], streamResumable: true,
      onRunCreated: (created) => (run = created),
    }));
    assert.equal(parts[0].event, "metadata");
    assert.equal(parts[0].data.run_id, run.run_id);
    assert.ok(parts.some((part) => part.event === "messages" && part.data[1].langgraph_node === "stream_message"));
    assert.equal(parts.findLast((part) => part.event === "updates").data.__interrupt__[0].value, "Are we good?");
    const middle = parts[3].id;
    const rest = await collected(client.runs.joinStream(thread.thread_id, run.run_id, { lastEventId: middle }));
    assert.deepEqual(rest.map((part) => part.id), parts.slice(4).map((part) => part.id));
    const last = await collected(client.runs.stream(thread.thread_id, "agent", { command: { resume: "yes" } }));
    assert.deepEqual(last.findLast((part) => part.event === "values").data.items, ["streamed", "tool", "asked", "sub"]);
    const state = await client.threads.getState(thread.thread_id);
    assert.deepEqual(state.next, []);
    assert.ok((await client.threads.getHistory(thread.thread_id, { limit: 3 })).length === 3);
  },

  async "cancelling"() {
    const thread = await client.threads.create();
    const run = await client.runs.create(thread.thread_id, "agent", { input: FRESH, afterSeconds: 3600 });
    await client.runs.cancel(thread.thread_id, run.run_id, true);
    assert.equal((await client.runs.get(thread.thread_id, run.run_id)).status, "interrupted");
    const other = await client.runs.create(thread.thread_id, "agent", { input: FRESH, afterSeconds: 3600 });
    await client.runs.cancelMany({ threadId: thread.thread_id, runIds: [other.run_id] });
    assert.equal((await client.runs.get(thread.thread_id, other.run_id)).status, "interrupted");
  },

  async "the store"() {
    const space = ["javascript", crypto.randomUUID()];
    await client.store.putItem(space, "a", { n: 1 });
    assert.deepEqual((await client.store.getItem(space, "a")).value, { n: 1 });
    assert.equal((await client.store.searchItems(space, { filter: { n: 1 } })).items.length, 1);
    const { namespaces } = await client.store.listNamespaces({ prefix: space });
    assert.deepEqual(namespaces, [space]);
    await client.store.deleteItem(space, "a");
    assert.equal(await client.store.getItem(space, "a"), null);
  },

  async "assistants and crons"() {
    const [assistant] = await client.assistants.search({ graphId: "agent" });
    assert.equal((await client.assistants.get(assistant.assistant_id)).graph_id, "agent");
    const cron = await client.crons.create("agent", { schedule: "0 0 1 1 *", input: FRESH });
    assert.ok((await client.crons.search({ assistantId: assistant.assistant_id })).some(
      (one) => one.cron_id === cron.cron_id,
    ));
    await client.crons.delete(cron.cron_id);
  },

  async "the streaming protocol"() {
    for (const transport of ["sse", "websocket"]) {
      const thread = client.threads.stream({ assistantId: "agent", transport });
      await thread.run.start({ input: FRESH });
      for await (const _ of thread.values) if (thread.interrupted) break;
      assert.equal(thread.interrupts[0].payload, "Are we good?");
      const [asked] = thread.interrupts;
      await thread.input.respond({ namespace: [], interrupt_id: asked.interruptId, response: "yes" });
      const [newest] = await client.runs.list(thread.threadId, { limit: 1 });
      const final = await client.runs.join(thread.threadId, newest.run_id);
      assert.deepEqual(final.items, ["streamed", "tool", "asked", "sub"]);
      await thread.close();
    }
  },
};

let failed = 0;
for (const [name, test] of Object.entries(cases)) {
  try {
    await test();
    console.log(`  ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`  FAILED  ${name}\n${error.stack}`);
  }
}
process.exit(failed ? 1 : 0);
