"""The xDS protocol without I/O and without Envoy: resources as bytes, subscriptions, order, acknowledgement.

Pure, and it knows no Envoy message: the server drives it, and an agent's relay could.
"""
