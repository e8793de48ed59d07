"""Start the flows' programs, and end them with everything they started."""
