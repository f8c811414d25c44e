"""Feedback from SES after it has accepted mail: events, recipients' fates, and the brake.

- `records`: bodies of queues, files and webhooks become `SesEvent`s. Pure.
- `fate`: events of one recipient add up to a `Fate`, in any order and any number of copies. Pure.
- `store`: `feedback.db`, which keeps fates. It is written before an event is deleted anywhere.
- `listener`: reads a stream of events, `queue` or `files`, and `ingest` stores what it brings.
- `evidence`: how sure it is that a rate is above its limit, however late its events come. Pure.
- `ramp`: how much may be sent while little is known of what was sent. Pure.
- `brake`: whether a mailing bounces, annoys or fails to render too often to go on. Pure.

It knows `model`, `database`, the SDK's border in `ses`, and how `sources` read S3. Start reading at
`records.parse` and `ingest.Ingest.put`.
"""
