"""What a person needs to see why a picture scored as it did: every segment's outcome, and small pictures of it."""
