from .explorers import AttentionExplorer as AttentionExplorer
from .explorers import RetrievalExplorer as RetrievalExplorer
