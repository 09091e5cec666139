"""Evaluation of objects by judges: models that did not guide them."""
