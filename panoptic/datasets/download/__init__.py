"""The public archives of COCO and ADE20K: known, fetched, verified and unpacked."""
