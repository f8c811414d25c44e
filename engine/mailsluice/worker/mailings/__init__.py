"""Mailings in a folder, or sent by the queue: taken in, sent, put away.

`inbox` moves folders by atomic renames, `contents` reads what is in one, `job` is one mailing at
work and `jobs` are all of them. It knows the engine and the queue's messages. Start with `jobs`.
"""
