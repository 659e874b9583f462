"""Level 2, what do they say? Protocols in which models read and answer each other's text."""
