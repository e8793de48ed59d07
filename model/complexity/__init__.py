"""The cost of a network: parameters, multiply-adds by the papers' count and by a full one, latency, memory."""
