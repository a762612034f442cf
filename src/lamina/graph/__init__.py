"""Floor 3: symbolic tensors, the nodes that record calls on them, probing on meta tensors, the flat program."""
