"""Where tokens come from. Each engine implements :class:`protocols.core.engine.Engine`."""
