"""Training and using models on AnnData in the manner of scvi-tools; see :class:`~.model.FoundationModel`.

Only ``model.py``, ``setup.py`` and ``fields.py`` import scvi, which takes seconds; nothing imports them before
they are asked for.
"""
