"""Tests of the blinded studies."""
