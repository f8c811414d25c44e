"""The long-running process: mailings dropped into a folder, side by side in one quota.

Only `worker.worker` knows an engine; `worker.folder` knows files, `worker.page` HTTP.
"""
