"""What is installed: the part of requirements.lock that an installation takes, its bill of materials, and its audit."""
