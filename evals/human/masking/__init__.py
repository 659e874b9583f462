"""Finding names of models, labs and contributors in texts, however they are spelt."""
