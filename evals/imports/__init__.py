"""Results that other programs measured, as records beside one's own; each says where it is from."""
