"""The store, the service and what they promise."""
