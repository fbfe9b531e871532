"""What would Envoy do with this request? A verdict over compiled resources, step by step, with origins.

Reads the very bytes that a proxy would get, so it can disagree with the compiler. Tests ask it; a person's "why" will.
Pure: no proxy runs, nothing is sent.
"""
