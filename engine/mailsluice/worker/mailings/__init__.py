"""Mailings from a folder or the queue: taken in, sent, and moved to done/ or failed/.

`inbox` moves folders by atomic renames, `contents` reads a mailing's folder, `job` is one mailing
in work and `jobs` are all of them. It knows the engine and the queue's messages. Start with `jobs`.
"""
