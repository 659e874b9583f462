"""The participants' pages of blinded studies: plain pages on the app's own web server.

They are no Gradio components, because a page that raters must be able to trust needs cookies,
status codes and requests that can be repeated, and must not carry anything but texts and tickets.
Everything works without JavaScript; ``static/rate.js`` adds keys, timing and saving with retries.
"""

from studio.rating.options import RatingOptions, secret_from
from studio.rating.routes import build_routes

__all__ = ["RatingOptions", "build_routes", "secret_from"]
