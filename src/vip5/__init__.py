"""VIP5: one multimodal foundation model that recommends, ranks and explains."""

__version__ = "0.2.0"
