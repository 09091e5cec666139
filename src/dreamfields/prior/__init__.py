"""What a prompt's object is likely to look like, before any optimisation: a coarse shape with colours."""
