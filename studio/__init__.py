"""The desktop studio (Qt). It knows the public names of `self6d` and nothing inside them."""
