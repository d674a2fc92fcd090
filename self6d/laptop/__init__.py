"""From CAD files and a recording to a network of one's own, without a GPU."""
