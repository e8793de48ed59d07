"""What both papers publish: every model (`models`), and every printed figure (`papers`)."""
