"""ProxyView → Envoy resources as bytes. Translation only: a recipe per proxy role, small builders.

The only room that knows Envoy's messages. It decides nothing about policy: a question that comes up here is a
field missing in the view. Pure.
"""
