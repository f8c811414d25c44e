"""The running engine: it puts the other rooms together and moves values between them.

`engine` is the public facade and the only module that names concrete adapters. A run is `run` and
`pipeline`; single messages are `outbox` (with `pending`, `message_keys` and `outbox_lifetime`).
Both send by `sending`: permit, intent, call, settlement, count, in this order. `account` asks
GetAccount. `arguments`, `provenance`, `excepted` and `home` check what a run begins with.

It knows all rooms but the worker, the commands and the emulator. Start with `engine.Engine.run`.
"""
