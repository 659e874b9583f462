"""Killing, crowding and starving the store: the short ones run always, the long ones are slow."""
