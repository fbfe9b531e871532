"""Where configuration comes from. Each source decodes documents into objects and hands full states to a sink.

A source keeps the last good version of what it can no longer read, and says so with a Problem.
"""
