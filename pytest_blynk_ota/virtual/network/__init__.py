"""The board's Wi-Fi, its TCP connections and what is around them."""
