"""Messages from an SQS queue: received, sent, and deleted when their outcomes are durable.

`consumer` leads a message through: `messages` reads its body, `sender` sends its recipients, `acks`
tells the queue (`ses.aws.sqs`). `journals` are the records, one after the other; `known_keys` are
the keys that they list. It knows the engine, and nothing of folders or HTTP. Start with `consumer`.
"""
