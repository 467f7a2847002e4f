"""Which boards there are, who holds them, and what powers them."""
