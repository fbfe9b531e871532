"""The command line: arguments, and the composition root of every process. Nothing else is here.

``main`` is the entry. Commands import what they run inside their functions, so that ``--help`` answers at once.
"""
