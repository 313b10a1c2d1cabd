"""How fast the read path is, as ratios against peers and limits measured in the same run."""
