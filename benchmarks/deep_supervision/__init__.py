"""When deep supervision helps, and what centers of mass cost, over depth, length of training and weight of classes."""
