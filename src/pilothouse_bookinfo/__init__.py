"""Bookinfo, the demo application: productpage, details, reviews and ratings as four small HTTP servers.

Each app is a process of its own (``python -m pilothouse_bookinfo.reviews --address 127.44.0.5 --port 9081``) that knows
the others by name only (``http://ratings.service.mesh:9080``) and reaches them through the proxy that ``HTTP_PROXY``
names: its sidecar. The apps know nothing of Pilothouse; they stand for anybody's code.
"""
