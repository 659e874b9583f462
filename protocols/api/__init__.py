"""Level 1, who answers? Protocols that choose a model per question or per piece of text."""
