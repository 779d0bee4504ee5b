"""The guard in service: HTTP in front of one guard (the ``serve`` extra).

FastAPI and its kin are imported by the modules here and nowhere else, so this file imports none.
"""
