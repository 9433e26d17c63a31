"""Commands for what runs outside of Impasto: other programs, and shells."""
