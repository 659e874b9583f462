"""The store, the desk and what they promise."""
