"""What the helper process computes, one file a kind of answer; `Desk` calls them."""
