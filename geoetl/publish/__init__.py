"""Publishing: what becomes public is exactly what was approved, and it can be taken back.

``model`` releases, states, and what may happen to them · ``tables`` of them.
"""
