"""The pages, one ``build(ctx)`` each."""
