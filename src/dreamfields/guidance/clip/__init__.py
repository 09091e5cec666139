"""CLIP and its relatives from `transformers`: finding, downloading, loading, preprocessing."""
