"""Launches the studio: ``python app.py``. Everything it can be told stands in the environment.

vLLM starts child processes that import this file again, so nothing may happen on import.
"""

from studio.settings import Settings, no_telemetry

if __name__ == "__main__":
    no_telemetry()
    from studio.app import serve

    serve(Settings())
