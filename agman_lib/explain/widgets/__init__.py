"""Interactive explorers for notebooks, a thin shell over `agman_lib.explain` and a gallery.

::

    AttentionExplorer(gallery, dataset)
    AttentionExplorer({"AG-MAN": gallery, "untrained": other}, dataset)
    RetrievalExplorer(gallery)

Core ipywidgets alone (versions 7 and 8), so that JupyterLab, Notebook 7, VS Code and Colab draw
them. Pictures go to the browser as PNG and JPEG bytes. Every explorer has ``figure()``: the same
pictures as a matplotlib figure, for print and for places without widgets.

Nothing imports this sub-package: all that it shows is also available without widgets.
`attention_explorer` and `retrieval_explorer` hold what a notebook calls, `attribute_panel` one
network under one attribute, `controls` the controls. Start with `attention_explorer`: what runs
when an attribute button is clicked is ``Panel.refresh`` in `attribute_panel`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
