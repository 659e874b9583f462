"""Level 3, next token: protocols that combine next-token distributions."""
