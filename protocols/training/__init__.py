"""Training: thin wrappers over trl and peft. Nothing heavy is imported until something trains."""
