"""The few asynchronous building blocks: clock, supervised tasks, backoff, coalescing queue, latest-value cell.

The only room that starts tasks. Knows nothing of meshes.
"""
