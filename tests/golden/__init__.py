"""Hand-written, artificial runs that folds and pages are tested on."""
