"""What every other room may use: problems and origins as values, content digests, memo by identity.

Pure: no I/O, no clock, no task, no global state. Imports nothing of Pilothouse.
"""
