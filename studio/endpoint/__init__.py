"""The participatory system as a model: an OpenAI-compatible endpoint over the run manager."""
