"""The long-running process: sends mailings and messages side by side, within one quota.

`worker` takes in, pauses and ends. `mailings` is the folder into which mailings are dropped,
`queue` the SQS queue of messages, `http` shows how the worker stands and takes an operator's
requests; `counters` counts.

Only `worker`, `mailings` and `queue` know an engine; no room but the commands knows this one. Start
with `worker.Worker.run`.
"""
