"""The mesh of ``pilothouse up``: which processes, with which addresses, in which order; what ``--check`` plays on it.

It composes ``serve`` and ``agent`` by their command lines, as a person would by hand, and the bookinfo apps beside
them. Nothing here is needed to run a mesh of one's own.
"""
