"""Level 4, who do they become? Protocols that merge or search in weight space."""
