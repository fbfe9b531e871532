"""Where every decision is taken: World → MeshSnapshot → (per class) ProxyView.

Merges, precedence, visibility, defaults: decided here, once, with the origin of what won. Nothing below this room
looks a policy up. Pure.
"""
